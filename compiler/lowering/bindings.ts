/** The buffers that a kernel binds: which ranges of which tensors its loads and stores access. */
import { UnsupportedError } from "../diagnostics/error.ts";
import { dimExpr, spanOf } from "../fusion/index.ts";
import type { Dim } from "../ir/dim.ts";
import { deviceElementBytes } from "../ir/dtype.ts";
import {
  type BufferParam,
  children,
  type Expr,
  expressions,
  int,
  mapExpressions,
  type Range,
  rangeOf,
  type Stmt,
  withChildren,
} from "../kernel/index.ts";
import { sub } from "../kernel/simplify.ts";
import type { AdapterFacts } from "./facts.ts";
import type { KernelShape, Region } from "./kernel-shape.ts";

/** A range of elements of a region, bound as one buffer of a kernel. */
export interface Binding {
  readonly region: number;
  /** The first element; a multiple of the adapter's alignment. */
  readonly start: number;
  readonly length: Dim;
}

/** A body whose loads and stores name buffers, and what each buffer is bound to. */
interface Bound {
  readonly body: Stmt[];
  readonly buffers: readonly BufferParam[];
  readonly bindings: readonly Binding[];
}

/** The range of a region that one buffer covers. */
interface Access {
  /** The region, by the name that loads and stores give. */
  readonly root: string;
  readonly start: number;
  readonly length: Dim;
}

/**
 * Assigns a buffer to each range of a tensor that the body accesses; overlapping ranges share one. Throws
 * UnsupportedError for more than the adapter binds.
 */
export function bindBuffers(body: readonly Stmt[], shape: KernelShape, facts: AdapterFacts): Bound {
  const regionOf = (root: string): Region => shape.regions[numberOf(root)]!;
  const accesses = accessesOf(rangesIn(body), regionOf, facts);
  // A tensor's bindings are either all read-only or all read-write: WebGPU forbids mixing the two within one dispatch.
  const written = new Set([...shape.stores.values()].map((p) => shape.regions[p.region]!.root));
  const buffers = accesses.map(({ root, length }, i): BufferParam => {
    const tensor = regionOf(root).root;
    const access = written.has(tensor) ? "read_write" : "read";
    return { name: bufferName(i), dtype: tensor.type.dtype, access, size: dimExpr(length) };
  });
  const bindings = accesses.map(({ root, start, length }): Binding => ({ region: numberOf(root), start, length }));
  return { body: addressed(body, accesses), buffers, bindings };
}

/** A region's number in its shape, from its name in a body. */
const numberOf = (root: string): number => Number(root.slice(1));

const bufferName = (i: number): string => `b${i}`;

/** The ranges of indices at which a body loads and stores, by region. */
function rangesIn(body: readonly Stmt[]): ReadonlyMap<string, readonly Range[]> {
  const ranges = new Map<string, Range[]>();
  const seen = new Set<Expr>();
  const note = (root: string, index: Expr) => {
    const known = ranges.get(root);
    if (known) known.push(rangeOf(index));
    else ranges.set(root, [rangeOf(index)]);
  };
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.kind === "load") note(e.buffer, e.index);
    for (const c of children(e)) visit(c);
  };
  const visitAll = (stmts: readonly Stmt[]): void => {
    for (const s of stmts) {
      for (const e of expressions(s)) visit(e);
      if (s.kind === "store") note(s.buffer, s.index);
      if (s.kind === "for" || s.kind === "if") visitAll(s.body);
    }
  };
  visitAll(body);
  return ranges;
}

/** Separate ranges where the adapter binds as many, else whole regions. */
function accessesOf(
  ranges: ReadonlyMap<string, readonly Range[]>,
  regionOf: (root: string) => Region,
  { maxBindings, bindingAlignment }: AdapterFacts,
): readonly Access[] {
  const whole = (root: string): Access => ({ root, start: 0, length: spanOf(regionOf(root).axes) });
  const apart = [...ranges].flatMap(
    ([root, list]) => separateRanges(root, list, regionOf(root), bindingAlignment) ?? [whole(root)],
  );
  if (apart.length <= maxBindings) return apart;
  if (ranges.size <= maxBindings) return [...ranges.keys()].map(whole);
  throw new UnsupportedError(
    `a kernel binds ${ranges.size} storage buffers, and the adapter allows ${maxBindings} (maxStorageBuffersPerShaderStage)\n  hint: use a device that allows ${ranges.size}`,
  );
}

/** Merges overlapping ranges of one tensor, aligned to where bindings may begin; undefined if its size is symbolic. */
function separateRanges(
  root: string,
  ranges: readonly Range[],
  region: Region,
  alignment: number,
): Access[] | undefined {
  const elements = spanOf(region.axes);
  if (typeof elements !== "number") return undefined;
  const step = alignment / deviceElementBytes(region.root.type.dtype);
  const sorted = ranges
    .map((r) => ({ min: Math.floor(Math.max(0, r.min) / step) * step, max: Math.min(elements - 1, r.max) }))
    .sort((a, b) => a.min - b.min);
  const merged: Range[] = [];
  for (const r of sorted) {
    const last = merged.at(-1);
    if (last && r.min <= last.max) merged[merged.length - 1] = { min: last.min, max: Math.max(last.max, r.max) };
    else merged.push(r);
  }
  return merged.map(({ min: start, max }) => ({ root, start, length: max - start + 1 }));
}

/** The body with regions replaced by the buffers that cover their accesses, and indices counted from these. */
function addressed(body: readonly Stmt[], accesses: readonly Access[]): Stmt[] {
  const place = (root: string, index: Expr) => {
    const i = coveringBuffer(accesses, root, rangeOf(index));
    return { buffer: bufferName(i), index: sub(index, int(accesses[i]!.start)) };
  };
  const memo = new Map<Expr, Expr>();
  const rewrite = (e: Expr): Expr => {
    const known = memo.get(e);
    if (known) return known;
    const before = children(e);
    const after = before.map(rewrite);
    let result = after.every((c, i) => c === before[i]) ? e : withChildren(e, after);
    if (result.kind === "load") result = { ...result, ...place(result.buffer, result.index) };
    memo.set(e, result);
    return result;
  };
  const rewriteAll = (stmts: readonly Stmt[]): Stmt[] =>
    stmts.map((s) => {
      const mapped = mapExpressions(s, rewrite);
      if (mapped.kind === "store") return { ...mapped, ...place(mapped.buffer, mapped.index) };
      return mapped.kind === "for" || mapped.kind === "if" ? { ...mapped, body: rewriteAll(mapped.body) } : mapped;
    });
  return rewriteAll(body);
}

function coveringBuffer(accesses: readonly Access[], root: string, { min, max }: Range): number {
  const covers = ({ start, length }: Access) =>
    start <= Math.max(0, min) && (typeof length !== "number" || max < start + length);
  const at = accesses.findIndex((a) => a.root === root && covers(a));
  return at >= 0 ? at : accesses.findIndex((a) => a.root === root);
}
