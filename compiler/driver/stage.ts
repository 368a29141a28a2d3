/** What the pipeline of a target is made of: forms that a program takes, and named stages from one form to the next. */
import { InternalError } from "../diagnostics/error.ts";
import { type Graph, nodesOf } from "../ir/graph.ts";
import { parseGraph } from "../ir/parse.ts";
import { printGraph } from "../ir/print.ts";
import { verifyGraph } from "../ir/verify.ts";
import type { RuleObserver } from "../rewrite/index.ts";

/** How much is checked: what each stage makes, or also that it is idempotent, that its text reads back, and what is dear. */
export type Check = "forms" | "all";

/** A form that a program takes on its way: a graph, a fusion plan, kernels. */
export interface Form<T> {
  readonly name: string;
  /** The value as text; where it consists of named parts, only those whose name matches the pattern. */
  readonly print: (value: T, names?: string) => string;
  /**
   * Throws InternalError, naming the stage, where an invariant of the form does not hold. At "all" it may also check what
   * would take too long on every compile.
   */
  readonly verify: (value: T, stage: string, check?: Check) => void;
  /** How large it is, in a few words: "161 nodes". */
  readonly size: (value: T) => string;
  /** Whether two values are the same; forms that are made anew each time have none. */
  readonly same?: (a: T, b: T) => boolean;
  /** Reads the printed text back, where the form has a grammar. */
  readonly parse?: (text: string) => T;
}

/** One step from a form to a form: a pure function with a name. */
export interface Stage<I, O> {
  readonly name: string;
  /** Names of stages that must have run before in the same list. */
  readonly needs?: readonly string[];
  readonly from: Form<I>;
  readonly to: Form<O>;
  readonly run: (value: I, observe?: RuleObserver) => O;
}

/** A stage whose forms are checked when it runs, for lists. */
// biome-ignore lint/suspicious/noExplicitAny: a list holds stages between forms of every kind
export type AnyStage = Stage<any, any>;

/** A pure function from graph to graph, with a name. */
export interface Pass {
  readonly name: string;
  readonly needs?: readonly string[];
  readonly run: (graph: Graph, observe?: RuleObserver) => Graph;
}

/** The same nodes under the same names. */
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

/** A pass as a stage from graph to graph. */
export const graphStage = (pass: Pass): Stage<Graph, Graph> => ({ ...pass, from: graphForm, to: graphForm });

/** A stage between two forms. */
export const stage = <I, O>(
  name: string,
  from: Form<I>,
  to: Form<O>,
  run: (value: I) => O,
  needs: readonly string[] = [],
): Stage<I, O> => ({ name, needs, from, to, run });

/** Throws InternalError where a stage stands before one that it needs, or gets another form than it takes. */
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
