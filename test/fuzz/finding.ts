/** A disagreement as it is reported: the seed, the smallest graph that shows it, and the kernels that it became. */
import { compileKernels, type Graph, printGraph, printKernel, type Sizes } from "../../compiler/index.ts";
import { check, expectation, type Fault } from "./check.ts";
import type { Executor } from "./executors.ts";
import { drawInputs, fuzzCase } from "./random-case.ts";
import { shrink } from "./shrink.ts";

export interface Finding {
  readonly seed: number;
  readonly executor: string;
  /** Numbers for the symbolic sizes. */
  readonly sizes: Sizes;
  readonly fault: Fault;
  /** The smallest graph found, of known sizes. */
  readonly graph: string;
  readonly kernels: string;
}

/** Shrinks a failing graph and tells what is wrong with the smallest. Inputs are drawn by the seed at every size. */
export async function finding(
  seed: number,
  sizes: Sizes,
  executor: Executor,
  graph: Graph,
  fault: Fault,
  tries: number,
): Promise<Finding> {
  const faultOf = async (g: Graph): Promise<Fault | undefined> => {
    const values = drawInputs(g, seed);
    const want = expectation(g, values);
    return want && check(executor, g, values, want);
  };
  const small = await shrink(graph, async (g) => (await faultOf(g))?.kind === fault.kind, tries);
  return {
    seed,
    executor: executor.name,
    sizes,
    fault: (await faultOf(small)) ?? fault,
    graph: printGraph(small),
    kernels: kernelsOf(small, executor),
  };
}

function kernelsOf(graph: Graph, executor: Executor): string {
  try {
    const { kernels } = compileKernels(graph, executor.facts);
    return kernels.map((k) => printKernel(k.kernel)).join("\n");
  } catch (error) {
    return `no kernels: ${(error as Error).message}`;
  }
}

/** The finding that a seed ends the process, which nothing can shrink from within. */
export const crash = (seed: number): Finding => ({
  seed,
  executor: "the process",
  sizes: {},
  fault: { kind: "crash", text: "the process ended while this seed was running, or was stopped then" },
  graph: printGraph(fuzzCase(seed).graph),
  kernels: "",
});

export function printFinding(f: Finding): string {
  const sizes = Object.entries(f.sizes).map(([k, v]) => `${k}=${v}`);
  const at = sizes.length > 0 ? ` with ${sizes.join(", ")}` : "";
  return `seed ${f.seed}${at} on ${f.executor}: ${f.fault.kind}\n${f.fault.text}\n\n${f.graph}\n${f.kernels}\n`;
}
