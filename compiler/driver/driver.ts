/** Runs passes in order: names, times and verifies each, and tells observers what it did. */
import { InternalError } from "../diagnostics/error.ts";
import type { Graph } from "../ir/graph.ts";
import { parseGraph } from "../ir/parse.ts";
import { printGraph } from "../ir/print.ts";
import { verifyGraph } from "../ir/verify.ts";
import type { RuleEvent, RuleObserver } from "../rewrite/index.ts";

/** A pure function from graph to graph, with a name. */
export interface Pass {
  readonly name: string;
  /** Names of passes that must have run before in the same list. */
  readonly needs?: readonly string[];
  readonly run: (graph: Graph, observe?: RuleObserver) => Graph;
}

/** What a pass did. */
export interface PassReport {
  readonly pass: string;
  readonly before: Graph;
  readonly after: Graph;
  readonly changed: boolean;
  readonly milliseconds: number;
}

/** Sees every pass; dumping, timing and tracing are observers. */
export interface PassObserver {
  readonly onPass?: (report: PassReport) => void;
  readonly onRule?: (event: RuleEvent, pass: string) => void;
}

export interface RunOptions {
  readonly observers?: readonly PassObserver[];
  /** "types" checks every node after each pass; "all" also that the pass is idempotent and its result reads back. */
  readonly check?: "types" | "all";
}

/** A fault in a pass: the graph from before it is part of the error, as text. */
export interface PassFault extends InternalError {
  readonly pass: string;
  readonly before: string;
}

export const isPassFault = (error: unknown): error is PassFault =>
  error instanceof InternalError && "before" in error && "pass" in error;

/** The graph after all passes; throws a PassFault where one breaks an invariant. */
export function runPasses(graph: Graph, passes: readonly Pass[], options: RunOptions = {}): Graph {
  checkOrder(passes);
  return passes.reduce((g, pass) => runPass(g, pass, options), graph);
}

/** What a pass needs must stand before it: order is checked, not remembered. */
function checkOrder(passes: readonly Pass[]): void {
  const done = new Set<string>();
  for (const { name, needs = [] } of passes) {
    const missing = needs.find((n) => !done.has(n));
    if (missing !== undefined) throw new InternalError(`pass "${name}" needs "${missing}" before it`);
    done.add(name);
  }
}

function runPass(graph: Graph, pass: Pass, { observers = [], check = "types" }: RunOptions): Graph {
  const tracers = observers.flatMap((o) => (o.onRule ? [o.onRule] : []));
  const observe = (event: RuleEvent) => {
    for (const onRule of tracers) onRule(event, pass.name);
  };
  const start = performance.now();
  const after = guarded(pass, graph, () => pass.run(graph, tracers.length > 0 ? observe : undefined));
  const milliseconds = performance.now() - start;
  guarded(pass, graph, () => verify(pass, after, check));
  const report = { pass: pass.name, before: graph, after, changed: !sameGraph(graph, after), milliseconds };
  for (const o of observers) o.onPass?.(report);
  return after;
}

function guarded<T>(pass: Pass, graph: Graph, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof InternalError) || isPassFault(error)) throw error;
    throw Object.assign(error, { pass: pass.name, before: printGraph(graph) });
  }
}

function verify(pass: Pass, after: Graph, check: "types" | "all"): void {
  verifyGraph(after, pass.name);
  if (check !== "all") return;
  if (!sameGraph(pass.run(after), after)) throw new InternalError(`pass "${pass.name}" changes what it made itself`);
  if (!sameGraph(parseGraph(printGraph(after)), after)) {
    throw new InternalError(`after pass "${pass.name}", the printed graph reads back as another`);
  }
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
