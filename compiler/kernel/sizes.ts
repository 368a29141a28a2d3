/** The symbolic sizes that a kernel reads, which are known when it is dispatched. */
import type { Expr, Size } from "./expr.ts";
import { children } from "./expr-structure.ts";
import { expressions, type Kernel, statements } from "./kernel.ts";

function collect(roots: Iterable<Expr>, found: Map<string, Size>): void {
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.kind === "size") found.set(e.name, e);
    for (const c of children(e)) visit(c);
  };
  for (const root of roots) visit(root);
}

function* bodyExpressions(kernel: Pick<Kernel, "body">): Generator<Expr> {
  for (const s of statements(kernel.body)) yield* expressions(s);
}

/** All symbolic sizes in a kernel, including its grid and buffers. */
export function sizesOf(kernel: Pick<Kernel, "body" | "grid" | "buffers">): ReadonlyMap<string, Size> {
  const found = new Map<string, Size>();
  collect([...kernel.grid, ...kernel.buffers.map((b) => b.size), ...bodyExpressions(kernel)], found);
  return found;
}

/** Whether the kernel's body reads a size, so that it binds the uniform of sizes; the host evaluates the grid. */
export function bindsSizes(kernel: Pick<Kernel, "body">): boolean {
  const found = new Map<string, Size>();
  collect(bodyExpressions(kernel), found);
  return found.size > 0;
}
