/** Runs one graph on an executor and reports what is wrong with the result. */
import { bindSizes, type Graph, inputName, OpViolation, type Sizes, UnsupportedError } from "../../compiler/index.ts";
import type { Executor, Prepared, Run } from "./executors.ts";
import { drawInputs } from "./random-case.ts";
import { disagreement, type Expected, expected, OutOfRange, type Values } from "./tolerance.ts";

export interface Fault {
  /** A disagreement, or an error's class and first words; a shrunk graph must show the same. */
  readonly kind: string;
  readonly text: string;
  readonly sizes: Sizes;
}

/** A graph of known sizes with inputs, and the reference's results. */
export interface Trial {
  readonly sizes: Sizes;
  readonly graph: Graph;
  readonly values: Values;
  readonly want: ReadonlyMap<string, Expected>;
}

/** Extra draws to confirm a disagreement before it is reported. */
const confirmingDraws = 24;

/**
 * The trials of a graph at several sizes, without those where a slice is longer than its axis or values leave the range
 * in which executors must agree.
 */
export function trialsOf(graph: Graph, bindings: readonly Sizes[], seed: number): Trial[] {
  return bindings.flatMap((sizes) => {
    try {
      const bound = bindSizes(graph, sizes);
      const values = drawInputs(bound, seed);
      return [{ sizes, graph: bound, values, want: expected(bound, values) }];
    } catch (error) {
      if (error instanceof OutOfRange || error instanceof OpViolation) return [];
      throw error;
    }
  });
}

/** The first fault that an executor shows on a graph, run at each size in turn. */
export async function check(executor: Executor, graph: Graph, trials: readonly Trial[]): Promise<Fault | undefined> {
  if (!executor.open) return firstOf(trials, (trial) => withPrepared(executor, trial.graph, [trial]));
  return withPrepared(executor, graph, trials);
}

async function withPrepared(executor: Executor, graph: Graph, trials: readonly Trial[]): Promise<Fault | undefined> {
  let prepared: Prepared;
  try {
    prepared = await executor.prepare(graph);
  } catch (error) {
    return thrown(error, trials[0]?.sizes ?? {});
  }
  try {
    return await firstOf(trials, (trial) => faultOf(prepared, trial));
  } finally {
    prepared.dispose();
  }
}

async function firstOf<T>(list: readonly T[], f: (item: T) => Promise<Fault | undefined>): Promise<Fault | undefined> {
  for (const item of list) {
    const fault = await f(item);
    if (fault) return fault;
  }
  return undefined;
}

async function faultOf(prepared: Prepared, trial: Trial): Promise<Fault | undefined> {
  const { graph, values, sizes } = trial;
  const wanted = (draws?: number, seed?: number) =>
    expected(graph, values, draws, seed, prepared.computed && bindSizes(prepared.computed, sizes));
  let run: Run;
  let { want } = trial;
  try {
    if (prepared.computed) want = wanted();
    run = await prepared.run(values, sizes);
    if (differences(run, { ...trial, want }).length === 0) return undefined;
    want = wanted(confirmingDraws, 99);
  } catch (error) {
    if (error instanceof OutOfRange) return undefined; // in f16, whose range is smaller
    return thrown(error, sizes);
  }
  const found = differences(run, { ...trial, want });
  return found.length === 0 ? undefined : { kind: "disagreement", text: found.join("\n"), sizes };
}

function thrown(error: unknown, sizes: Sizes): Fault {
  const { name, message } = error instanceof Error ? error : { name: "thrown", message: String(error) };
  const words = message
    .split("\n")[0]!
    .replace(/["(].*|\d+/g, "")
    .slice(0, 40);
  const refused = error instanceof UnsupportedError ? "refused" : "error";
  return { kind: `${refused}: ${name}: ${words}`, text: `${name}: ${message}`, sizes };
}

/** One line for each output and each state that differs. */
function differences(run: Run, { graph, values, want }: Trial): string[] {
  const successors = new Map(Object.entries(graph.updates).map(([output, state]) => [state, output]));
  const lines = [...want].flatMap(([name, e]) => {
    const line = disagreement(run.outputs.get(name) ?? [], e);
    return line ? [`output ${name}${line}`] : [];
  });
  for (const node of graph.inputs.filter((n) => n.attrs.role === "state")) {
    const name = inputName(node);
    const kept: Expected = { values: values.get(name)!, tolerance: new Float64Array(values.get(name)!.length) };
    const line = disagreement(run.states.get(name)!, want.get(successors.get(name) ?? "") ?? kept);
    if (line) lines.push(`state ${name} after the run${line}`);
  }
  return lines;
}
