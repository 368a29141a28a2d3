/** Graphs on which an executor was once wrong, as files: found by fuzzing or by hand, and kept small. */
import { readdirSync, readFileSync } from "node:fs";
import { type Graph, parseGraph } from "../../compiler/index.ts";
import { check, trialsOf } from "./check.ts";
import type { Executor } from "./executors.ts";

const folder = new URL("found/", import.meta.url);

export const found: readonly { readonly name: string; readonly graph: Graph }[] = readdirSync(folder)
  .sort()
  .map((name) => ({ name, graph: parseGraph(readFileSync(new URL(name, folder), "utf8")) }));

/** What is wrong with an executor's results for a graph of known sizes, for a few draws of its inputs. */
export async function faultsOf(executor: Executor, graph: Graph): Promise<string[]> {
  const faults: string[] = [];
  for (const seed of [1, 2, 3]) {
    const trials = trialsOf(graph, [{}], seed);
    if (trials.length === 0) throw new Error(`the values of @${graph.name} are out of range`);
    const fault = await check(executor, graph, trials);
    if (fault) faults.push(fault.text);
  }
  return faults;
}
