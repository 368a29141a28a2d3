/**
 * What a kernel costs on CPU threads. Their drivers take as long to compile a large loop body as a small problem takes
 * to run hundreds of times, so that short code is the faster choice for it.
 */
import { typical } from "../../fusion/index.ts";
import type { Dim } from "../../ir/dim.ts";

/** The runs that are assumed of a kernel, over which the time to compile it is spread. */
const runs = 200;

/** The typical value of a symbolic size on CPU threads: batches and texts are shorter than on a GPU. */
const usualSize = 16;

/** The number that estimates for CPU threads use for a size. */
export const typicalOnThreads = (dim: Dim): number => typical(dim, usualSize);

/** The milliseconds for compiling a kernel and running it, of the milliseconds for compiling and for one run. */
export const compiledAndRun = (compiling: number, running: number): number => compiling + runs * running;
