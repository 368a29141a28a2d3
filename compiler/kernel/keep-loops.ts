/**
 * Keeps drivers from unrolling loops. Mesa writes out a loop of up to 32 turns whose count it knows, and its LLVM takes
 * about 20 ms for each load that this makes: 8 seconds for one row reduction of 50 lines. It does not know the grid, so
 * that a counter which begins at an index of the grid that is always 0 begins at a number that it cannot tell.
 */
import { type Expr, variable } from "./expr.ts";
import type { Kernel, Stmt } from "./kernel.ts";

/** An index of the grid that is 0 in every workgroup; a kernel whose workgroups lie along all three lines has none. */
function hiddenZero({ grid }: Kernel): Expr | undefined {
  const line = (["wid_z", "wid_y", "wid_x"] as const).find((_, i) => {
    const groups = grid[2 - i]!;
    return groups.kind === "const" && groups.value === 1;
  });
  return line && variable(line, "i32", { min: 0, max: 0 });
}

/** The kernel with every loop that begins at 0 beginning at a 0 that the driver does not know. */
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
