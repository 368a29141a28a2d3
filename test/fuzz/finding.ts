/** A reported disagreement: the seed, the smallest graph that shows it, and its kernels. */
import { bindSizes, compileKernels, type Graph, printGraph, printKernel, type Sizes } from "../../compiler/index.ts";
import { check, type Fault, trialsOf } from "./check.ts";
import type { Executor } from "./executors.ts";
import { shrink } from "./shrink.ts";

export interface Finding {
  readonly seed: number;
  readonly executor: string;
  /** Values of the symbolic sizes. */
  readonly sizes: Sizes;
  readonly fault: Fault;
  /** The smallest graph found; its sizes are known unless the executor keeps them symbolic. */
  readonly graph: string;
  readonly kernels: string;
}

/** Shrinks a failing graph and reports what is wrong with the smallest. The seed draws the inputs at every size. */
export async function finding(
  seed: number,
  bindings: readonly Sizes[],
  executor: Executor,
  graph: Graph,
  fault: Fault,
  tries: number,
): Promise<Finding> {
  // A graph compiled for known sizes is shrunk at the failing ones; one run at several sizes keeps them all.
  const given = executor.open ? { graph, bindings } : { graph: bindSizes(graph, fault.sizes), bindings: [{}] };
  const faultOf = (g: Graph) => check(executor, g, trialsOf(g, given.bindings, seed));
  const small = await shrink(given.graph, async (g) => (await faultOf(g))?.kind === fault.kind, tries);
  const last = (await faultOf(small)) ?? fault;
  return {
    seed,
    executor: executor.name,
    sizes: executor.open ? last.sizes : fault.sizes,
    fault: last,
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

/** The finding that a seed kills the process, which cannot be shrunk from within. */
export const crash = (seed: number, graph: Graph): Finding => ({
  seed,
  executor: "the process",
  sizes: {},
  fault: { kind: "crash", text: "the process ended while this seed was running", sizes: {} },
  graph: printGraph(graph),
  kernels: "",
});

export function printFinding(f: Finding): string {
  const sizes = Object.entries(f.sizes).map(([k, v]) => `${k}=${v}`);
  const at = sizes.length > 0 ? ` with ${sizes.join(", ")}` : "";
  return `seed ${f.seed}${at} on ${f.executor}: ${f.fault.kind}\n${f.fault.text}\n\n${f.graph}\n${f.kernels}\n`;
}
