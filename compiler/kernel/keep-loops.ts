/**
 * Keeps drivers from unrolling loops. Mesa fully unrolls loops with a known trip count of up to 32, and its LLVM
 * backend takes about 20 ms for each resulting load: 8 seconds for one row reduction of 50 lines. The driver does not
 * know the grid, so starting a counter at a grid index that is always 0 hides the trip count.
 */
import { type Expr, variable } from "./expr.ts";
import type { Kernel, Stmt } from "./kernel.ts";

/** A grid index that is 0 in every workgroup; a kernel with a three-dimensional grid has none. */
function hiddenZero({ grid }: Kernel): Expr | undefined {
  const line = (["wid_z", "wid_y", "wid_x"] as const).find((_, i) => {
    const groups = grid[2 - i]!;
    return groups.kind === "const" && groups.value === 1;
  });
  return line && variable(line, "i32", { min: 0, max: 0 });
}

/** Replaces the start of every loop that begins at 0 by a 0 that is opaque to the driver. */
export function keepLoops(kernel: Kernel): Kernel {
  const zero = hiddenZero(kernel);
  return zero ? { ...kernel, body: kept(kernel.body, zero) } : kernel;
}

const kept = (body: readonly Stmt[], zero: Expr): Stmt[] =>
  body.map((s) => {
    if (s.kind === "if") return { ...s, body: kept(s.body, zero) };
    if (s.kind !== "for") return s;
    const from = s.from.kind === "const" && s.from.value === 0 ? zero : s.from;
    return { ...s, from, body: kept(s.body, zero) };
  });
