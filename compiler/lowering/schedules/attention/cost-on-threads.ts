/** What attention by rows in registers costs on CPU threads, compile time included. */
import { span, spanOf } from "../../../fusion/index.ts";
import { compiledAndRun, typicalOnThreads } from "../compile-time.ts";
import { isOfPairs, type Parts, partOf, passOf } from "./problem.ts";

/** How a schedule divides the pairs of queries and keys. */
export interface PairsAtATime {
  /** Pairs in the body of the loop, each with code of its own. */
  readonly compiled: number;
  /** Rows that use a vector of the other side once it is loaded, and what loading it costs, in such uses. */
  readonly atATime: number;
  readonly shared: number;
}

/** Milliseconds for compiling and running, measured on SwiftShader. */
export function costOnThreads(p: Parts, { compiled, atATime, shared }: PairsAtATime): number {
  const each = productsOfPair(p);
  const pairs = [p.rows, p.walked].map((axes) => typicalOnThreads(spanOf(axes))).reduce((n, size) => n * size);
  return compiledAndRun(30 + 1.1 * compiled * each, 1.3e-6 * pairs * each * (1 + shared / atATime));
}

/** The multiply-accumulates of a query and a key: the logit, the weighted values, and the gradients. */
function productsOfPair({ cores, dot, widths }: Parts): number {
  const [length, width] = [Number(dot.size), span(widths)];
  if (passOf(cores[0]!) === "forward") return length + width;
  const sums = cores.map((core) => (isOfPairs(core) ? 1 : partOf(core) === "weights" ? width : length));
  return sums.reduce((n, size) => n + size, length + width);
}
