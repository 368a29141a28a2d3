/** Runs one graph on an executor and says what is wrong with it. */
import { type Graph, inputName, UnsupportedError } from "../../compiler/index.ts";
import type { Executor, Run } from "./executors.ts";
import { disagreement, type Expected, expected, OutOfRange, type Values } from "./tolerance.ts";

export interface Fault {
  /** A disagreement, or an error's class and first words: what a smaller graph must show too. */
  readonly kind: string;
  readonly text: string;
}

/** More draws for a graph that seems wrong, before it is called wrong. */
const confirmingDraws = 24;

/** What the reference expects of a graph; undefined where it leaves the range in which executors must agree. */
export function expectation(graph: Graph, values: Values): ReadonlyMap<string, Expected> | undefined {
  try {
    return expected(graph, values);
  } catch (error) {
    if (error instanceof OutOfRange) return undefined;
    throw error;
  }
}

/** The fault that an executor shows on a graph, if any. */
export async function check(
  executor: Executor,
  graph: Graph,
  values: Values,
  want: ReadonlyMap<string, Expected>,
): Promise<Fault | undefined> {
  let run: Run;
  try {
    run = await executor.run(graph, values);
  } catch (error) {
    return thrown(error);
  }
  if (differences(run, graph, want, values).length === 0) return undefined;
  const found = differences(run, graph, expected(graph, values, confirmingDraws, 99), values);
  return found.length === 0 ? undefined : { kind: "disagreement", text: found.join("\n") };
}

function thrown(error: unknown): Fault {
  const { name, message } = error instanceof Error ? error : { name: "thrown", message: String(error) };
  const words = message
    .split("\n")[0]!
    .replace(/["(].*|\d+/g, "")
    .slice(0, 40);
  const refused = error instanceof UnsupportedError ? "refused" : "error";
  return { kind: `${refused}: ${name}: ${words}`, text: `${name}: ${message}` };
}

/** One line for each output and each state that is not what it should be. */
function differences(run: Run, graph: Graph, want: ReadonlyMap<string, Expected>, values: Values): string[] {
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
