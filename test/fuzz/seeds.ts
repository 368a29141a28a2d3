/** Runs seeds one after another on the executors asked for. */

import { check, expectation } from "./check.ts";
import type { Executor } from "./executors.ts";
import { type Finding, finding } from "./finding.ts";
import { bound, drawInputs, fuzzCase } from "./random-case.ts";

export interface SeedResult {
  readonly seed: number;
  /** Graphs of known sizes that were compared. */
  readonly compared: number;
  /** Graphs whose values leave the range in which executors must agree. */
  readonly skipped: number;
  readonly findings: readonly Finding[];
}

/** Compares the graphs of a seed; the first fault that an executor shows is shrunk by at most `tries` graphs. */
export async function runSeed(seed: number, executors: readonly Executor[], tries: number): Promise<SeedResult> {
  const random = fuzzCase(seed);
  const findings: Finding[] = [];
  const faulty = new Set<Executor>();
  let [compared, skipped] = [0, 0];
  for (const sizes of random.bindings) {
    const graph = bound(random, sizes);
    const values = drawInputs(graph, seed);
    const want = expectation(graph, values);
    if (!want) {
      skipped++;
      continue;
    }
    compared++;
    for (const executor of executors) {
      if (faulty.has(executor)) continue;
      const fault = await check(executor, graph, values, want);
      if (!fault) continue;
      faulty.add(executor);
      findings.push(await finding(seed, sizes, executor, graph, fault, tries));
    }
  }
  return { seed, compared, skipped, findings };
}
