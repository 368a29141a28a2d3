/** Runs seeds one after another on the given executors. */
import { check, trialsOf } from "./check.ts";
import type { Executor } from "./executors.ts";
import { type Finding, finding } from "./finding.ts";
import { type FuzzCase, fuzzCase } from "./random-case.ts";

export interface SeedResult {
  readonly seed: number;
  /** Bindings of the graph's sizes that were compared. */
  readonly compared: number;
  /** Bindings at which values leave the range in which executors must agree. */
  readonly skipped: number;
  readonly findings: readonly Finding[];
}

/** Compares a seed's graph at every binding of its sizes; shrinking a fault tries at most `tries` graphs. */
export async function runSeed(
  seed: number,
  executors: readonly Executor[],
  tries: number,
  caseOf: (seed: number) => FuzzCase = fuzzCase,
): Promise<SeedResult> {
  const { graph, bindings, open } = caseOf(seed);
  const trials = trialsOf(graph, bindings, seed);
  const findings: Finding[] = [];
  if (trials.length > 0)
    for (const executor of executors.filter((e) => open || !e.open)) {
      const fault = await check(executor, graph, trials);
      if (fault) findings.push(await finding(seed, bindings, executor, graph, fault, tries));
    }
  return { seed, compared: trials.length, skipped: bindings.length - trials.length, findings };
}
