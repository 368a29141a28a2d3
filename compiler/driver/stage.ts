/** The building blocks of a target's pipeline: the forms of a program (its IRs) and named stages between them. */
import { InternalError } from "../diagnostics/error.ts";
import { type Graph, nodesOf } from "../ir/graph.ts";
import { parseGraph } from "../ir/parse.ts";
import { printGraph } from "../ir/print.ts";
import { verifyGraph } from "../ir/verify.ts";
import type { RuleObserver } from "../rewrite/index.ts";

/** "forms" verifies the output of each stage; "all" also runs expensive checks: idempotence and text round trips. */
export type Check = "forms" | "all";

/** A form that a program takes during compilation: a graph, a fusion plan, kernels. */
export interface Form<T> {
  readonly name: string;
  /** The value as text; for forms with named parts, only those whose name matches the pattern `names`. */
  readonly print: (value: T, names?: string) => string;
  /**
   * Throws InternalError, naming the stage, if an invariant of the form does not hold. "all" enables checks that are
   * too slow to run on every compile.
   */
  readonly verify: (value: T, stage: string, check?: Check) => void;
  /** A short description of its size: "161 nodes". */
  readonly size: (value: T) => string;
  /** Equality of two values; omitted for forms whose values are rebuilt by every stage. */
  readonly same?: (a: T, b: T) => boolean;
  /** Parses the printed text, if the form has a grammar. */
  readonly parse?: (text: string) => T;
}

/** One step from a form to another: a named pure function. */
export interface Stage<I, O> {
  readonly name: string;
  /** Names of stages that must come earlier in the same list. */
  readonly needs?: readonly string[];
  readonly from: Form<I>;
  readonly to: Form<O>;
  readonly run: (value: I, observe?: RuleObserver) => O;
}

/** A stage between any two forms, for lists; `checkOrder` checks that adjacent forms match. */
// biome-ignore lint/suspicious/noExplicitAny: a list holds stages between forms of every kind
export type AnyStage = Stage<any, any>;

/** A named pure function from graph to graph. */
export interface Pass {
  readonly name: string;
  readonly needs?: readonly string[];
  readonly run: (graph: Graph, observe?: RuleObserver) => Graph;
}

/** Whether two graphs have the same nodes under the same names. */
export const sameGraph = (a: Graph, b: Graph): boolean =>
  a === b ||
  (a.name === b.name &&
    a.inputs.length === b.inputs.length &&
    a.inputs.every((n, i) => n === b.inputs[i]) &&
    a.outputs.length === b.outputs.length &&
    a.outputs.every((o, i) => o.name === b.outputs[i]!.name && o.node === b.outputs[i]!.node) &&
    Object.keys(a.updates).length === Object.keys(b.updates).length &&
    Object.entries(a.updates).every(([k, v]) => b.updates[k] === v));

/** The graph IR as a form. */
export const graphForm: Form<Graph> = {
  name: "graph",
  print: (graph) => printGraph(graph),
  verify: verifyGraph,
  size: (graph) => `${nodesOf(graph).length} nodes`,
  same: sameGraph,
  parse: parseGraph,
};

/** A pass as a graph-to-graph stage, which returns a graph itself where the pass built an equal one. */
export const graphStage = (pass: Pass): Stage<Graph, Graph> => ({
  ...pass,
  from: graphForm,
  to: graphForm,
  run: (graph, observe) => {
    const after = pass.run(graph, observe);
    return sameGraph(graph, after) ? graph : after;
  },
});

/** A stage between two forms. */
export const stage = <I, O>(
  name: string,
  from: Form<I>,
  to: Form<O>,
  run: (value: I) => O,
  needs: readonly string[] = [],
): Stage<I, O> => ({ name, needs, from, to, run });

/** Throws InternalError if a stage comes before one that it needs, or would be given a form that it does not take. */
export function checkOrder(stages: readonly AnyStage[]): void {
  const done = new Set<string>();
  let form: Form<unknown> | undefined;
  for (const { name, needs = [], from, to } of stages) {
    const missing = needs.find((n) => !done.has(n));
    if (missing !== undefined) throw new InternalError(`stage "${name}" needs "${missing}" before it`);
    if (form && form !== from)
      throw new InternalError(`stage "${name}" takes a ${from.name} and is given a ${form.name}`);
    done.add(name);
    form = to;
  }
}
