/**
 * Turns loads and stores of neighbouring elements into accesses of four at once. A buffer is changed as a whole: only
 * where every access of it begins at a multiple of four plus a constant, and most of the four are used.
 */
import { children, component, construct, type Expr, int, keyOf, load, withChildren } from "./expr.ts";
import { type BufferParam, expressions, type Kernel, mapExpressions, type Stmt } from "./kernel.ts";
import { div, laneOf } from "./simplify.ts";

type Store = Extract<Stmt, { kind: "store" }>;

/** What is known of a buffer's accesses. */
interface Use {
  /** Distinct elements and distinct groups of four that are loaded. */
  readonly elements: Set<string>;
  readonly groups: Set<string>;
  /** False once an access does not fit. */
  fits: boolean;
}

/** Groups of four elements are worth a wide access when so many elements of each are used. */
const worthwhile = 3;

export function vectorize(kernel: Kernel): Kernel {
  const uses = new Map<string, Use>(
    kernel.buffers.map((b) => [b.name, { elements: new Set(), groups: new Set(), fits: canWiden(b) }]),
  );
  noteLoads(kernel.body, uses);
  const runs = new Map<Store, readonly Store[]>();
  noteStores(kernel.body, uses, runs);
  const wide = new Set<string>();
  for (const [name, use] of uses) {
    const loadsPay = use.groups.size === 0 || use.elements.size >= worthwhile * use.groups.size;
    if (use.fits && loadsPay) wide.add(name);
  }
  if (wide.size === 0) return kernel;
  const buffers = kernel.buffers.map((b) => (wide.has(b.name) ? { ...b, width: 4 as const } : b));
  return { ...kernel, buffers, body: rewriteBlock(kernel.body, wide, runs, new Map()) };
}

const canWiden = (b: BufferParam): boolean =>
  b.width === undefined && (b.dtype === "f32" || b.dtype === "f16") && laneOf(b.size, 4)?.lane === 0;

function noteLoads(body: readonly Stmt[], uses: ReadonlyMap<string, Use>): void {
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    for (const c of children(e)) visit(c);
    if (e.kind !== "load") return;
    const use = uses.get(e.buffer)!;
    const lane = laneOf(e.index, 4);
    if (!lane) use.fits = false;
    else {
      use.elements.add(keyOf(e.index));
      use.groups.add(keyOf(lane.base));
    }
  };
  const walk = (stmts: readonly Stmt[]): void => {
    for (const s of stmts) {
      for (const e of expressions(s)) visit(e);
      const matrix = s.kind === "fragment_load" ? s.from : s.kind === "fragment_store" ? s.to : undefined;
      const use = matrix && uses.get(matrix.array);
      if (use) use.fits = false;
      if (s.kind === "for" || s.kind === "if") walk(s.body);
    }
  };
  walk(body);
}

/** Finds runs of four stores to neighbouring elements within one block; a store outside a run keeps its buffer narrow. */
function noteStores(body: readonly Stmt[], uses: ReadonlyMap<string, Use>, runs: Map<Store, readonly Store[]>): void {
  const open = new Map<string, (Store | undefined)[]>();
  for (const s of body) {
    if (s.kind === "for" || s.kind === "if") noteStores(s.body, uses, runs);
    if (s.kind !== "store") continue;
    const lane = laneOf(s.index, 4);
    if (!lane) {
      uses.get(s.buffer)!.fits = false;
      continue;
    }
    const key = `${s.buffer} ${keyOf(lane.base)}`;
    const run = open.get(key) ?? [undefined, undefined, undefined, undefined];
    open.set(key, run);
    if (run[lane.lane]) uses.get(s.buffer)!.fits = false;
    run[lane.lane] = s;
  }
  for (const [key, run] of open) {
    const whole = run.filter((s): s is Store => s !== undefined);
    if (whole.length === 4) for (const s of whole) runs.set(s, whole);
    else uses.get(key.split(" ")[0]!)!.fits = false;
  }
}

function rewriteBlock(
  body: readonly Stmt[],
  wide: ReadonlySet<string>,
  runs: ReadonlyMap<Store, readonly Store[]>,
  memo: Map<Expr, Expr>,
): Stmt[] {
  const left = new Map<readonly Store[], number>();
  return body.flatMap((s): Stmt[] => {
    const mapped = mapExpressions(s, (e) => widen(e, wide, memo));
    if (mapped.kind === "for" || mapped.kind === "if")
      return [{ ...mapped, body: rewriteBlock(mapped.body, wide, runs, memo) }];
    if (s.kind !== "store" || mapped.kind !== "store" || !wide.has(s.buffer)) return [mapped];
    const run = runs.get(s)!;
    const seen = (left.get(run) ?? 0) + 1;
    left.set(run, seen);
    if (seen < 4) return [];
    const values = run.map((one) => widen(one.value, wide, memo));
    const index = div(laneOf(run[0]!.index, 4)!.base, int(4));
    return [{ kind: "store", buffer: s.buffer, index, value: construct(4, values) }];
  });
}

function widen(e: Expr, wide: ReadonlySet<string>, memo: Map<Expr, Expr>): Expr {
  const known = memo.get(e);
  if (known) return known;
  const before = children(e);
  const after = before.map((c) => widen(c, wide, memo));
  let result = after.every((c, i) => c === before[i]) ? e : withChildren(e, after);
  if (result.kind === "load" && wide.has(result.buffer)) {
    const { base, lane } = laneOf(result.index, 4)!;
    result = component(load(result.buffer, result.dtype, div(base, int(4)), 4), lane);
  }
  memo.set(e, result);
  return result;
}
