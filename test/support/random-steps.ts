/** Adds random ops one at a time: each takes suitable operands from the available values, squeezed into its range. */
import {
  type Axis,
  addDims,
  build,
  type Dim,
  type DType,
  type FoldCore,
  type Node,
  type OpRecord,
  ops,
  type SampleRange,
  symbol,
} from "../../compiler/index.ts";
import { rangeOf } from "./samples.ts";

/** An integer in [0, n). */
export type Choose = (n: number) => number;

export interface StepOptions {
  /** Which ops may be drawn; helpers that keep values in range (mul, add, sigmoid, min, max, rename) may be added. */
  readonly ops: (record: OpRecord) => boolean;
  /** Axis sizes to draw from. */
  readonly sizes: readonly number[];
  /** Maximum elements per tensor. */
  readonly maxElements: number;
  /**
   * Also ops that are discontinuous and thus sensitive to rounding: float comparisons, floor, argmax of floats, float
   * to integer.
   */
  readonly jumps: boolean;
  /** Also f16, through casts. */
  readonly f16: boolean;
  /** Also symbolic sizes and sums of them. */
  readonly symbols: boolean;
}

/** A node and the range of its values. */
export interface Value {
  readonly node: Node;
  readonly low: number;
  readonly high: number;
}

export interface Draft {
  readonly choose: Choose;
  readonly options: StepOptions;
  readonly values: Value[];
  readonly declared: Node[];
  fresh: number;
}

/** Value ranges of inputs, by dtype. */
export const inputRange: Readonly<Record<DType, SampleRange>> = {
  f32: { low: -2, high: 2 },
  f16: { low: -2, high: 2 },
  i32: { low: 0, high: 6, integer: true },
  u32: { low: 0, high: 6, integer: true },
  bool: { low: 0, high: 1, integer: true },
};

export const isFloat = (n: Node) => n.type.dtype === "f32" || n.type.dtype === "f16";
/** The values that the symbols are bound to; see symbolValues. */
const [n, past] = [symbol("n"), symbol("past")];
const symbolSizes: ReadonlyMap<Dim, number> = new Map<Dim, number>([
  [n, 5],
  [past, 3],
  [addDims(n, past), 8],
]);
export const sizeNumber = (a: Axis): number => (typeof a.size === "number" ? a.size : (symbolSizes.get(a.size) ?? 16));
export const elements = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * sizeNumber(a), 1);
export const pick = <T>(d: Draft, list: readonly T[]): T => list[d.choose(list.length)]!;
/** Usually one of the newest values, so that ops form chains. */
export const recent = (d: Draft, list: readonly Value[]): Value => pick(d, d.choose(3) > 0 ? list.slice(-2) : list);
export const hasSame = (n: Node, axis: Axis) => n.type.axes.some((a) => a.name === axis.name && a.size === axis.size);
export const named = (n: Node) => n.type.axes.map((a) => a.name);

export function freshAxis(d: Draft, size: Axis["size"]): Axis {
  return { name: `a${d.fresh++}`, size };
}

export function randomAxes(d: Draft, most: number): Axis[] {
  const axes: Axis[] = [];
  for (let rank = d.choose(most + 1); rank > 0; rank--) {
    const symbolic = d.options.symbols && d.choose(3) === 0;
    const axis = freshAxis(d, symbolic ? pick(d, [...symbolSizes.keys()]) : pick(d, d.options.sizes));
    if (elements([...axes, axis]) <= d.options.maxElements) axes.push(axis);
  }
  return axes;
}

export function addInput(d: Draft, dtype: DType, axes: readonly Axis[]): Value {
  const name = `x${d.declared.length}`;
  const asParameter = d.choose(4) === 3 && dtype === "f32";
  const node = asParameter
    ? ops.parameter(`layer.${name}`, dtype, axes, { kind: "normal", mean: 0, std: 0.02 })
    : ops.input(name, dtype, axes);
  d.declared.push(node);
  const value = { node, low: inputRange[dtype].low, high: inputRange[dtype].high };
  d.values.push(value);
  return value;
}

/** Adds a value with the op of a record; undefined when no available value suits it. */
export function step(d: Draft, record: OpRecord): Value | undefined {
  const shaper = shapers[record.name];
  if (shaper) return shaper(d);
  // Repeated folds, whose values grow with the row length, need explicit bounds.
  if (record.core?.kind === "row_reduction" && record.core.fold.repeated)
    return reduceStep(d, record.name, record.core);
  return record.kind === "elementwise" ? elementwiseStep(d, record) : caseStep(d, record);
}

const shapers: Readonly<Record<string, (d: Draft) => Value | undefined>> = {
  cast: castStep,
  contract: contractStep,
  rename: (d) => onAxis(d, (x, axis) => ops.rename(x, axis.name, freshAxis(d, 1).name)),
  split: (d) => onAxis(d, (x, axis) => ops.split(x, axis.name, [freshAxis(d, factorOf(axis)), freshAxis(d, 0)])),
  merge: (d) => {
    const x = recent(d, d.values);
    const names = shuffled(d, named(x.node)).slice(0, 2 + d.choose(2));
    return names.length < 2 ? undefined : { ...x, node: ops.merge(x.node, names, freshAxis(d, 1).name) };
  },
  slice: (d) =>
    onAxis(d, (x, axis) => {
      if (typeof axis.size !== "number") return ops.slice(x, axis.name, 1, 1);
      const start = d.choose(axis.size);
      return ops.slice(x, axis.name, start, 1 + d.choose(axis.size - start));
    }),
  pad: (d) =>
    onAxis(d, (x, axis) => ops.pad(x, axis.name, d.choose(4), d.choose(3), pick(d, [0, 0, isFloat(x) ? 0.5 : 1]))),
  concat: (d) =>
    onAxis(d, (x, axis) => ops.concat([x, ops.slice(x, axis.name, 0, 1), x].slice(0, 2 + d.choose(2)), axis.name)),
  transpose: (d) => {
    const x = recent(d, d.values);
    return { ...x, node: ops.transpose(x.node, shuffled(d, named(x.node))) };
  },
  window: (d) =>
    onAxis(d, (x, axis) => {
      if (typeof axis.size !== "number") return x;
      const size = 1 + d.choose(Math.min(3, axis.size));
      const kernel = freshAxis(d, size);
      const dilation = 2 * size - 1 <= axis.size ? 1 + d.choose(2) : 1;
      return ops.window(x, axis.name, freshAxis(d, 1).name, kernel, 1 + d.choose(2), dilation);
    }),
  transposed_window: (d) =>
    onAxis(d, (x, axis) => {
      if (typeof axis.size !== "number") return x;
      const [into, kernel] = [freshAxis(d, 1 + d.choose(2 * axis.size)), freshAxis(d, 1 + d.choose(3))];
      const steps = { stride: 1 + d.choose(3), dilation: 1 + d.choose(2), low: d.choose(4) - 1 };
      return ops.transposedWindow(x, axis.name, into, kernel, steps);
    }),
  broadcast: (d) => {
    const x = recent(d, d.values);
    return { ...x, node: ops.broadcast(x.node, [freshAxis(d, pick(d, d.options.sizes))]) };
  },
  argmax: (d) => {
    const x = d.options.jumps ? recent(d, d.values) : recent(d, ofDtype(d, "i32"));
    if (x.node.type.axes.length === 0 || x.node.type.dtype === "bool") return undefined;
    const axis = pick(d, x.node.type.axes);
    return { node: ops.argmax(x.node, axis.name), low: 0, high: sizeNumber(axis) };
  },
  gather: (d) => onAxis(d, (x, axis) => ops.gather(x, indexFor(d, x, axis.name), axis.name)),
  scatter_add: scatterStep,
};

const factorOf = (axis: Axis): number =>
  typeof axis.size !== "number" ? 1 : ([2, 3, 5, axis.size].find((f) => sizeNumber(axis) % f === 0) ?? 1);

/** An op whose shape rule is not known here: uses one of its record's own cases with new inputs, clamped to ±20. */
function caseStep(d: Draft, record: OpRecord): Value | undefined {
  if (record.cases.length === 0) return undefined;
  const c = pick(d, record.cases);
  const operands = c.operands.map((t, i) => fit(addInput(d, t.dtype, t.axes), rangeOf(record, i)));
  const node = build(record.name, operands, c.attrs);
  return { node: isFloat(node) ? ops.max(ops.min(node, 20), -20) : node, low: -20, high: 20 };
}

/**
 * Comparisons and other ops with zero gradient take integers, which are insensitive to rounding, unless `jumps` is set.
 */
function elementwiseStep(d: Draft, record: OpRecord): Value | undefined {
  const roles = record.cases[0]!.operands.map((t) => t.dtype);
  const exact = record.flat === true && !d.options.jumps;
  const dtypes = acceptedDtypes(record).filter((t) => t !== "bool" && !(exact && t.startsWith("f")));
  if (dtypes.length === 0 && roles.some((r) => r !== "bool")) return undefined;
  const dtype =
    pick(
      d,
      d.values.map((v) => v.node.type.dtype).filter((t) => dtypes.includes(t)),
    ) ?? dtypes[0];
  const operands: Value[] = [];
  for (let i = 0; i < roles.length; i++) {
    const range = rangeOf(record, i);
    const literal = i > 0 && roles[i] !== "bool" && d.choose(4) === 0;
    const value =
      roles[i] === "bool" ? boolValue(d) : literal ? literalIn(range, dtype!, d) : recent(d, ofDtype(d, dtype!));
    const node = align(d, operands, fit(value, range));
    if (!node) return undefined;
    operands.push({ node, low: Math.max(value.low, range.low), high: Math.min(value.high, range.high) });
  }
  const nodes = operands.map((o) => o.node);
  return { node: build(record.name, nodes, {}), ...bounds(record, operands) };
}

/** A literal, often 0, 1 or -1, which algebraic simplifications target. */
function literalIn(range: SampleRange, dtype: DType, d: Draft): Value {
  const candidates = [0, 1, -1, 2, dtype.startsWith("f") ? 0.3 : 3];
  const value = pick(
    d,
    candidates.filter((v) => v >= range.low && v <= range.high && (dtype !== "u32" || v >= 0)),
  );
  return { node: ops.constant(value, dtype), low: value, high: value };
}

/** u32 differences wrap around on a device but not in the interpreter, so they are excluded. */
const acceptedDtypes = (record: OpRecord): DType[] =>
  (["f32", "f16", "i32", "u32", "bool"] as const).filter((dtype) => {
    if (dtype === "u32" && (record.name === "sub" || record.name === "neg")) return false;
    const operands = record.cases[0]!.operands.map((t) => ({ dtype: t.dtype === "bool" ? t.dtype : dtype, axes: [] }));
    try {
      record.infer(operands, {});
      return true;
    } catch {
      return false;
    }
  });

export function ofDtype(d: Draft, dtype: DType): Value[] {
  const found = d.values.filter((v) => v.node.type.dtype === dtype);
  return found.length > 0 ? found : [addInput(d, dtype, randomAxes(d, 1))];
}

/** A bool for select: an exact comparison of positions or integers. */
function boolValue(d: Draft): Value {
  const x = recent(d, d.values).node;
  const axis = d.choose(3) > 0 && x.type.axes.length > 0 ? pick(d, x.type.axes) : undefined;
  const node = axis
    ? ops.lt(ops.iota(axis), 1 + d.choose(sizeNumber(axis)))
    : ops.lt(recent(d, ofDtype(d, "i32")).node, 3);
  return { node, low: 0, high: 1 };
}

/** An integer tensor without the gathered axis, whose other axes are compatible with the table's. */
function indexFor(d: Draft, table: Node, gathered: string): Node {
  let node = recent(d, ofDtype(d, "i32")).node;
  for (const axis of node.type.axes) {
    const clash = axis.name === gathered || (named(table).includes(axis.name) && !hasSame(table, axis));
    if (clash) node = ops.rename(node, axis.name, freshAxis(d, 1).name);
  }
  return node;
}

function scatterStep(d: Draft): Value | undefined {
  const index = recent(d, ofDtype(d, "i32")).node;
  const base = fit(recent(d, ofDtype(d, "f32")), { low: -2, high: 2 });
  const other = align(d, [{ node: index, low: 0, high: 0 }], base);
  if (!other) return undefined;
  const updates = ops.add(other, ops.cast(ops.min(ops.max(index, 0), 6), "f32"));
  const total = 8 * elements(updates.type.axes);
  return { node: ops.scatterAdd(index, updates, freshAxis(d, 1 + d.choose(9))), low: -total, high: total };
}

function castStep(d: Draft): Value | undefined {
  const x = recent(d, d.values);
  const { jumps, f16 } = d.options;
  const targets: DType[] = isFloat(x.node)
    ? ["f32", ...(f16 ? (["f16"] as const) : []), ...(jumps ? (["i32", "bool"] as const) : [])]
    : ["f32", "i32", ...(x.low >= 0 ? (["u32"] as const) : []), "bool"];
  const to = pick(
    d,
    targets.filter((t) => t !== x.node.type.dtype),
  );
  if (!to) return undefined;
  const range = to === "bool" ? { low: 0, high: 1 } : { low: Math.floor(x.low), high: Math.ceil(x.high) };
  return { node: ops.cast(x.node, to), ...range };
}

function reduceStep(d: Draft, op: string, { fold }: FoldCore): Value | undefined {
  const x = recent(d, d.values);
  const over = shuffled(d, named(x.node)).slice(0, 1 + d.choose(2));
  if (over.length === 0 || x.node.type.dtype === "bool") return undefined;
  const n = fold.repeated === "times" ? elements(x.node.type.axes.filter((a) => over.includes(a.name))) : 1;
  return { node: build(op, [x.node], { over }), low: Math.min(x.low * n, x.low), high: Math.max(x.high * n, x.high) };
}

/** Contracts one axis of a value with another value that has it too, or with a new input. */
function contractStep(d: Draft): Value | undefined {
  const unit = { low: -2, high: 2 };
  const a = fit(recent(d, ofDtype(d, "f32")), unit);
  if (a.type.axes.length === 0) return undefined;
  const axis = pick(d, a.type.axes);
  const mates = ofDtype(d, "f32").filter((v) => hasSame(v.node, axis));
  const mate =
    mates.length === 0 || d.choose(2) === 0
      ? addInput(d, "f32", [freshAxis(d, pick(d, d.options.sizes)), axis])
      : pick(d, mates);
  const b = align(d, [{ node: a, low: 0, high: 0 }], fit(mate, unit), sizeNumber(axis));
  if (!b) return undefined;
  const total = 4 * sizeNumber(axis);
  return { node: ops.contract(a, b, [axis.name]), low: -total, high: total };
}

function onAxis(d: Draft, make: (x: Node, axis: Axis) => Node): Value | undefined {
  const x = recent(d, d.values);
  if (x.node.type.axes.length === 0) return undefined;
  return { node: make(x.node, pick(d, x.node.type.axes)), low: Math.min(x.low, 0), high: Math.max(x.high, 1) };
}

/** Renames axes that clash in size with earlier operands; undefined when the union would be too large. */
export function align(d: Draft, before: readonly Value[], node: Node, reduced = 1): Node | undefined {
  const taken = before.flatMap((v) => v.node.type.axes);
  for (const axis of node.type.axes) {
    if (taken.some((a) => a.name === axis.name && a.size !== axis.size))
      node = ops.rename(node, axis.name, freshAxis(d, 1).name);
  }
  const union = new Map([...taken, ...node.type.axes].map((a) => [a.name, a]));
  return elements([...union.values()]) / reduced <= d.options.maxElements ? node : undefined;
}

/** Squeezes a value into a range if it may leave it: floats with a sigmoid, integers by clamping. */
export function fit(v: Value, r: SampleRange): Node {
  if (v.node.type.dtype === "bool" || (v.low >= r.low && v.high <= r.high)) return v.node;
  if (!isFloat(v.node)) return ops.min(ops.max(v.node, Math.max(0, Math.ceil(r.low))), Math.floor(r.high));
  const scale = Math.max(1, Math.max(Math.abs(v.low), Math.abs(v.high)) / 4);
  const calm = scale === 1 ? v.node : ops.mul(v.node, 1 / scale);
  return ops.add(ops.mul(ops.sigmoid(calm), r.high - r.low), r.low);
}

/** The range of an elementwise result, from its scalar function on a grid, plus a margin. */
function bounds(record: OpRecord, operands: readonly Value[]): { low: number; high: number } {
  let points: number[][] = [[]];
  for (const { low, high } of operands) {
    points = points.flatMap((p) => [0, 0.25, 0.5, 0.75, 1].map((t) => [...p, low + t * (high - low)]));
  }
  const values = points.map((p) => record.scalar!(...p)).filter(Number.isFinite);
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return { low: low - 0.1 * (high - low), high: high + 0.1 * (high - low) };
}

export function shuffled(d: Draft, list: readonly string[]): string[] {
  const rest = [...list];
  return list.map(() => rest.splice(d.choose(rest.length), 1)[0]!);
}
