/**
 * Turns loads and stores of adjacent elements into vector accesses of up to 16 bytes. A buffer is vectorized as a
 * whole: only if every index is a multiple of the width plus a constant, and most elements of each group are used.
 */
import { component, construct, type Expr, int, load, type Width, widthOf } from "./expr.ts";
import { children, keyOf, withChildren } from "./expr-structure.ts";
import { type BufferParam, expressions, type Kernel, mapExpressions, type Stmt } from "./kernel.ts";
import { div, laneOf } from "./simplify.ts";

type Store = Extract<Stmt, { kind: "store" }>;

/** The accesses of a buffer at one width. */
interface Use {
  /** Distinct elements and distinct groups that are loaded. */
  readonly elements: Set<string>;
  readonly groups: Set<string>;
  /** False if an access cannot be vectorized. */
  fits: boolean;
}

type Runs = Map<Store, readonly Store[]>;

/** The least fraction of loaded elements that must be used for wide accesses to pay off. */
const worthwhile = 3 / 4;

/** Possible access widths of a buffer, the widest last; 16 bytes at most. */
const widthsOf = ({ dtype }: BufferParam): readonly Width[] =>
  (({ f16: [4, 8], f32: [4], u32: [2, 4], i32: [], bool: [] }) as const)[dtype];

export function vectorize(kernel: Kernel): Kernel {
  const wide = new Map<string, Width>();
  const runs: Runs = new Map();
  for (const width of [2, 4, 8] as const) {
    const found: Runs = new Map();
    for (const name of worthWidening(kernel, width, found)) wide.set(name, width);
    for (const [store, run] of found) if (wide.get(store.buffer) === width) runs.set(store, run);
  }
  if (wide.size === 0) return kernel;
  const buffers = kernel.buffers.map((b) => (wide.has(b.name) ? { ...b, width: wide.get(b.name)! } : b));
  return { ...kernel, buffers, body: rewriteBlock(kernel.body, wide, runs, new Map()) };
}

/** The buffers worth accessing by `width`; adds to `runs` the runs of stores to merge. */
function worthWidening(kernel: Kernel, width: Width, runs: Runs): string[] {
  const uses = new Map<string, Use>(
    kernel.buffers.map((b) => [b.name, { elements: new Set(), groups: new Set(), fits: canWiden(b, width) }]),
  );
  if (![...uses.values()].some(({ fits }) => fits)) return []; // most kernels have no buffer for most widths
  noteLoads(kernel.body, width, uses);
  noteStores(kernel.body, width, uses, runs);
  const pays = ({ elements, groups }: Use) => groups.size === 0 || elements.size >= worthwhile * width * groups.size;
  return [...uses].flatMap(([name, use]) => (use.fits && pays(use) ? [name] : []));
}

const canWiden = (b: BufferParam, width: Width): boolean =>
  b.width === undefined && widthsOf(b).includes(width) && laneOf(b.size, width)?.lane === 0;

function noteLoads(body: readonly Stmt[], width: Width, uses: ReadonlyMap<string, Use>): void {
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    for (const c of children(e)) visit(c);
    if (e.kind !== "load") return;
    const use = uses.get(e.buffer)!;
    const lane = use.fits ? laneOf(e.index, width) : undefined;
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

/** Finds runs of stores to all elements of a group within one block; a store outside a run keeps its buffer scalar. */
function noteStores(body: readonly Stmt[], width: Width, uses: ReadonlyMap<string, Use>, runs: Runs): void {
  const open = new Map<string, (Store | undefined)[]>();
  for (const s of body) {
    if (s.kind === "for" || s.kind === "if") noteStores(s.body, width, uses, runs);
    if (s.kind !== "store") continue;
    const use = uses.get(s.buffer)!;
    if (!use.fits) continue;
    const lane = laneOf(s.index, width);
    if (!lane) {
      use.fits = false;
      continue;
    }
    const key = `${s.buffer} ${keyOf(lane.base)}`;
    const run = open.get(key) ?? Array.from({ length: width }, () => undefined);
    open.set(key, run);
    if (run[lane.lane]) use.fits = false;
    run[lane.lane] = s;
  }
  for (const [key, run] of open) {
    const whole = run.filter((s): s is Store => s !== undefined);
    if (whole.length === width) for (const s of whole) runs.set(s, whole);
    else uses.get(key.split(" ")[0]!)!.fits = false;
  }
}

function rewriteBlock(
  body: readonly Stmt[],
  wide: ReadonlyMap<string, Width>,
  runs: Runs,
  memo: Map<Expr, Expr>,
): Stmt[] {
  const left = new Map<readonly Store[], number>();
  return body.flatMap((s): Stmt[] => {
    const mapped = mapExpressions(s, (e) => widen(e, wide, memo));
    if (mapped.kind === "for" || mapped.kind === "if")
      return [{ ...mapped, body: rewriteBlock(mapped.body, wide, runs, memo) }];
    const width = s.kind === "store" ? wide.get(s.buffer) : undefined;
    if (s.kind !== "store" || !width) return [mapped];
    const run = runs.get(s)!;
    const seen = (left.get(run) ?? 0) + 1;
    left.set(run, seen);
    if (seen < width) return [];
    const values = run.map((one) => widen(one.value, wide, memo));
    const index = div(laneOf(run[0]!.index, width)!.base, int(width));
    return [{ kind: "store", buffer: s.buffer, index, value: whole(width, values) }];
  });
}

function widen(e: Expr, wide: ReadonlyMap<string, Width>, memo: Map<Expr, Expr>): Expr {
  const known = memo.get(e);
  if (known) return known;
  const before = children(e);
  const after = before.map((c) => widen(c, wide, memo));
  let result = after.every((c, i) => c === before[i]) ? e : withChildren(e, after);
  const width = result.kind === "load" ? wide.get(result.buffer) : undefined;
  if (result.kind === "load" && width) {
    const { base, lane } = laneOf(result.index, width)!;
    result = component(load(result.buffer, result.dtype, div(base, int(width)), width), lane);
  } else if (result.kind === "construct") result = whole(result.width, result.parts);
  memo.set(e, result);
  return result;
}

/** A vector of elements; reassembling all components of a vector yields that vector. */
function whole(width: Width, parts: readonly Expr[]): Expr {
  const [first] = parts;
  const same =
    first?.kind === "component" &&
    widthOf(first.vector) === width &&
    parts.length === width &&
    parts.every((p, i) => p.kind === "component" && p.lane === i && keyOf(p.vector) === keyOf(first.vector));
  return same ? first.vector : construct(width, parts);
}
