/**
 * Random graphs that exercise tiling and matrix units: products, attention and convolutions whose sizes fill a tile,
 * exceed it by one, or have a single row; with operands that are slices, views and sums of others, and ops around them.
 */
import {
  type Axis,
  type Dim,
  differentiate,
  inputName,
  keepWeightsAs,
  makeGraph,
  type Node,
  type Output,
  ops,
  type Sizes,
  symbol,
  UsageError,
} from "../../compiler/index.ts";
import { type ConvolutionCase, convolved } from "../support/convolution.ts";
import { type Choose, seededChooser } from "../support/random-graph.ts";
import { addInput, type Draft, elements, freshAxis, named, pick, shuffled } from "../support/random-steps.ts";
import type { FuzzCase } from "./random-case.ts";
import { maskFor } from "./steps.ts";

const chance = (d: Draft, one: number): boolean => d.choose(one) === 0;

/** Tile sizes, their neighbours, primes, and small numbers. */
const sides = [1, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 40, 64, 65, 67, 96, 129];
const sums = [...sides, 128, 131, 257, 520];
const headWidths = [1, 3, 4, 8, 16, 17, 24, 32, 33, 64, 80];
const batches = [1, 2, 3];

/** Multiplications in one product, which the interpreter does in well under a second. */
const most = 24_000;

/** Successive values of the symbol rows: past a tile of 64, one, a few, past a tile of 32. */
const bindings: readonly Sizes[] = [{ rows: 67 }, { rows: 1 }, { rows: 9 }, { rows: 33 }];
const openRows = [symbol("rows"), symbol("rows", { max: 67 })];

const typical = (axes: readonly Axis[]): number =>
  axes.reduce((n, a) => n * (typeof a.size === "number" ? a.size : 67), 1);

export const tileCase = (seed: number): FuzzCase => randomTileCase(seededChooser(seed));

export function randomTileCase(choose: Choose): FuzzCase {
  const options = { ops: () => true, sizes: sides, maxElements: 4000, jumps: false, f16: false, symbols: false };
  const d: Draft = { choose, options, values: [], declared: [], fresh: 0 };
  const open = chance(d, 4) ? pick(d, openRows) : undefined;
  const kept = chance(d, 5) && !open ? pick(d, ["int8", "int4", "f16"] as const) : undefined;
  const y = kept ? weighted(d) : pick(d, [product, product, attention, attention, convolution])(d, open);
  const after = around(d, y);
  const outputs: Output[] = [{ name: "y", node: after }];
  if (chance(d, 3)) outputs.push({ name: "core", node: y });
  if (!kept && chance(d, 3)) outputs.push(...gradients(d, after));
  const graph = makeGraph("tiles", outputs, d.declared);
  const isOpen = open !== undefined && outputs.some((o) => o.node.type.axes.some((a) => typeof a.size !== "number"));
  if (isOpen || open !== undefined) return { graph, bindings, open: true };
  return { graph: kept ? keepWeightsAs(graph, kept).graph : graph, bindings: [{}], open: false };
}

/** Axes with at most this many elements in all. */
function axesWithin(d: Draft, count: number, sizes: readonly number[], budget: number): Axis[] {
  const axes: Axis[] = [];
  for (let left = count; left > 0; left--) {
    const room = sizes.filter((s) => s * typical(axes) <= budget);
    axes.push(freshAxis(d, room.length > 0 ? pick(d, room) : 1));
  }
  return axes;
}

const inAnyOrder = (d: Draft, axes: readonly Axis[]): Axis[] =>
  shuffled(d, [...axes.keys()].map(String)).map((i) => axes[Number(i)]!);

/** A product with batch, row, column and summed axes, in any order. */
function product(d: Draft, open: Dim | undefined): Node {
  const batch = axesWithin(d, chance(d, 2) ? 0 : 1 + d.choose(2), batches, 6);
  const rows = open === undefined ? axesWithin(d, 1 + d.choose(2), sides, 130) : [freshAxis(d, open)];
  const columns = axesWithin(d, chance(d, 8) ? 0 : 1 + d.choose(2), sides, most / typical([...batch, ...rows]) / 4);
  const summed = axesWithin(d, 1 + d.choose(2), sums, most / typical([...batch, ...rows, ...columns]));
  // A batch axis that one side lacks is one more row or column axis of the other.
  const left = operand(d, inAnyOrder(d, [...batch, ...rows, ...summed]));
  const right = operand(d, inAnyOrder(d, [...(chance(d, 4) ? batch.slice(1) : batch), ...columns, ...summed]));
  const over = inAnyOrder(d, summed).map((a) => a.name);
  return chance(d, 2) ? ops.contract(left, right, over) : ops.contract(right, left, over);
}

/** A few rows times a weight that may be quantized, at sizes that do not fill words of 4 or 8 integers. */
function weighted(d: Draft): Node {
  const summed = freshAxis(d, pick(d, [33, 64, 70, 257, 520]));
  const columns = freshAxis(d, pick(d, [40, 65, 72]));
  const rowCounts = [1, 2, 5, 8, 9, 33].filter((n) => n * typical([summed, columns]) <= 2 * most || n === 1);
  const rows = freshAxis(d, pick(d, rowCounts));
  const parameter = (axes: readonly Axis[]) => {
    const node = ops.parameter(`w${d.fresh++}`, "f32", axes, { kind: "normal", mean: 0, std: 1 });
    d.declared.push(node);
    return node;
  };
  const x = operand(d, inAnyOrder(d, [rows, summed]));
  const y = ops.contract(x, parameter(inAnyOrder(d, [summed, columns])), [summed.name]);
  if (chance(d, 2)) return y;
  const out = freshAxis(d, pick(d, [33, 52]));
  const squashed = ops.mul(ops.tanh(ops.mul(y, 0.05)), 0.5);
  return ops.contract(squashed, parameter(inAnyOrder(d, [columns, out])), [columns.name]);
}

/**
 * Attention with batches, heads that share keys, one query or one key, and masks; keys and values may differ in width.
 */
function attention(d: Draft, open: Dim | undefined): Node {
  const dot = freshAxis(d, pick(d, headWidths));
  const query = freshAxis(d, open !== undefined && chance(d, 2) ? open : pick(d, sides));
  const isOpen = typeof query.size !== "number";
  const room = most / 3 / (typeof dot.size === "number" ? dot.size : 1) / typical([query]);
  const keySizes = sums.filter((s) => s <= Math.max(1, room));
  const key = freshAxis(
    d,
    open !== undefined && !isOpen && typical([{ name: "", size: open }]) <= room ? open : pick(d, keySizes),
  );
  const batch = axesWithin(d, d.choose(3), batches, Math.min(6, room / typical([key])));
  const heads = chance(d, 3) ? batch.slice(1) : batch;
  const width = chance(d, 2) ? dot : freshAxis(d, pick(d, headWidths));
  const q = operand(d, inAnyOrder(d, [...batch, query, dot]));
  const k = operand(d, inAnyOrder(d, [...heads, key, dot]));
  const v = width === dot && chance(d, 5) ? k : operand(d, inAnyOrder(d, [...heads, key, width]));
  const mask = chance(d, 3) ? undefined : attentionMask(d, query, key, batch);
  const scale = pick(d, [1, 0.25, 0.1]);
  const axes = { dot: dot.name, over: key.name, scale };
  if (!chance(d, 3)) return ops.attention(q, k, v, axes, mask);
  return ops.biasedAttention(q, k, v, attentionBias(d, query, key, batch), axes, mask);
}

/** A bias on the logits: a tensor over some of their axes, relative positions, or a table indexed by these. */
function attentionBias(d: Draft, query: Axis, key: Axis, batch: readonly Axis[]): Node {
  const apart = ops.sub(ops.iota(key), ops.iota(query));
  switch (d.choose(5)) {
    case 0: {
      const slope = addInput(d, "f32", batch.slice(0, 1)).node;
      return ops.mul(ops.cast(apart, "f32"), slope);
    }
    case 1: {
      const table = freshAxis(d, 9);
      const bucket = ops.min(ops.max(ops.add(apart, 4), 0), 8);
      return ops.gather(addInput(d, "f32", [...batch.slice(0, 1), table]).node, bucket, table.name);
    }
    case 2:
      return addInput(d, "f32", inAnyOrder(d, [key, ...batch.filter(() => chance(d, 2))])).node;
    case 3: {
      const low = ops.constant(-1e30, "f32");
      return ops.select(ops.lt(addInput(d, "f32", inAnyOrder(d, [key, query])).node, 0.3), 0, low);
    }
    default:
      return addInput(d, "f32", inAnyOrder(d, [key, query, ...batch.filter(() => chance(d, 2))])).node;
  }
}

function attentionMask(d: Draft, query: Axis, key: Axis, batch: readonly Axis[]): Node {
  switch (d.choose(6)) {
    case 0:
      return ops.lt(ops.iota(key), ops.mul(ops.iota(query), 0)); // hides all
    case 1:
      return ops.ge(ops.iota(key), ops.mul(ops.iota(query), 0)); // hides nothing
    case 2:
      return ops.lt(ops.add(ops.iota(key), 3), ops.iota(query)); // the first rows see nothing
    default:
      return maskFor(d, query, key, batch);
  }
}

function convolution(d: Draft, open: Dim | undefined): Node {
  const kernel = [1 + d.choose(3), 1 + d.choose(3)] as const;
  const c: ConvolutionCase = {
    rows: pick(d, [4, 5, 7, 8]),
    columns: pick(d, [5, 6, 9]),
    from: 1,
    to: 1,
    kernel,
    stride: 1 + d.choose(3),
    dilation: 1 + d.choose(2),
    padding: [d.choose(3), d.choose(3), d.choose(3), d.choose(3)],
  };
  const shortest = (taps: number) => (c.dilation ?? 1) * (taps - 1) + 1;
  if (shortest(kernel[0]) > c.rows || shortest(kernel[1]) > c.columns) return product(d, open);
  const batch = { name: "batch", size: open !== undefined ? open : pick(d, [1, 2]) };
  const group = chance(d, 3) ? [{ name: "group", size: pick(d, [2, 3]) }] : [];
  const budget = most / typical([batch]) / (c.rows * c.columns * kernel[0] * kernel[1]);
  const from = {
    name: "from",
    size: pick(
      d,
      [1, 3, 8, 16].filter((s) => s === 1 || s * s <= budget),
    ),
  };
  const to = {
    name: "to",
    size: pick(
      d,
      [1, 2, 16, 17, 32].filter((s) => s === 1 || s * from.size <= budget),
    ),
  };
  const [row, column] = [
    { name: "row", size: c.rows },
    { name: "column", size: c.columns },
  ];
  const taps = kernel.map((size, i) => ({ name: ["k_row", "k_column"][i]!, size }));
  const x = operand(d, inAnyOrder(d, [batch, row, column, ...group, from]));
  const w = operand(d, inAnyOrder(d, [...group, to, ...taps, from]));
  return convolved(x, w, c);
}

/** A tensor with these axes: an input, or one that kernels read through an index, a concatenation or arithmetic. */
function operand(d: Draft, axes: readonly Axis[]): Node {
  const known = axes.filter((a) => typeof a.size === "number");
  const axis = known.length > 0 ? pick(d, known) : undefined;
  const size = axis?.size as number;
  const longer = (by: number) => axes.map((a) => (a === axis ? { ...a, size: size + by } : a));
  const input = (of: readonly Axis[]) => addInput(d, "f32", of).node;
  switch (axis ? d.choose(16) : 10 + d.choose(6)) {
    case 0:
      return ops.slice(input(longer(3)), axis!.name, 1 + d.choose(3), size);
    case 1: {
      if (size === 1) return input(axes);
      const first = 1 + d.choose(size - 1);
      const part = (n: number) => input(axes.map((a) => (a === axis ? { ...a, size: n } : a)));
      return ops.concat([part(first), part(size - first)], axis!.name);
    }
    case 2:
      return ops.transpose(
        ops.broadcast(input(axes.filter((a) => a !== axis)), [axis!]),
        axes.map((a) => a.name),
      );
    case 3: {
      const table = freshAxis(d, 7);
      return ops.gather(input(axes.map((a) => (a === axis ? table : a))), addInput(d, "i32", [axis!]).node, table.name);
    }
    case 4:
      return size > 2 ? ops.pad(input(longer(-2)), axis!.name, 1, 1) : input(axes);
    case 5: {
      const [outer, inner] = [freshAxis(d, size), freshAxis(d, 1)];
      const apart = axes.flatMap((a) => (a === axis ? [outer, inner] : [a]));
      return ops.rename(
        ops.merge(input(apart), [outer.name, inner.name], `${axis!.name}_`),
        `${axis!.name}_`,
        axis!.name,
      );
    }
    case 6:
      return ops.mul(input(axes), addInput(d, "f32", [axis!]).node);
    case 7:
      return ops.rmsNorm(input(axes), undefined, [axis!.name], 0.1);
    case 8:
      return ops.add(input(axes), addInput(d, "f32", [axis!]).node);
    case 9: {
      const node = ops.parameter(`half${d.fresh++}`, "f16", axes, { kind: "normal", mean: 0, std: 1 });
      d.declared.push(node);
      return ops.cast(node, "f32");
    }
    case 10:
      return ops.gelu(input(axes));
    case 11:
      return ops.mul(input(axes), 0.5);
    default:
      return input(axes);
  }
}

/** Ops that may be fused into the same kernel as its epilogue. */
function around(d: Draft, y: Node): Node {
  const axes = y.type.axes;
  const axis = axes.length > 0 ? pick(d, axes) : undefined;
  switch (axis ? d.choose(9) : 3) {
    case 0:
      return ops.gelu(ops.mul(ops.add(y, addInput(d, "f32", [axis!]).node), 0.1));
    case 1:
      return ops.add(y, addInput(d, "f32", inAnyOrder(d, axes)).node);
    case 2:
      return ops.transpose(y, shuffled(d, named(y)));
    case 3:
      return ops.mul(y, 0.25);
    case 4:
      return ops.reduceSum(y, [axis!.name]);
    case 5:
      return typeof axis!.size === "number" && axis!.size > 2 ? ops.slice(y, axis!.name, 1, axis!.size - 2) : y;
    case 6:
      return ops.softmax(ops.mul(y, 0.1), axis!.name);
    case 7:
      return ops.concat([y, ops.neg(y)], axis!.name);
    default:
      return y;
  }
}

function gradients(d: Draft, y: Node): Output[] {
  const cotangent = addInput(d, "f32", y.type.axes).node;
  const terms = ops.mul(y, cotangent);
  const loss = y.type.axes.length === 0 ? terms : ops.reduceSum(terms, named(y));
  const wanted = d.declared.filter((n) => n.type.dtype === "f32" && n !== cotangent && elements(n.type.axes) > 0);
  try {
    return differentiate(loss, wanted).map((node, i) => ({ name: `grad_${inputName(wanted[i]!)}`, node }));
  } catch (error) {
    if (error instanceof UsageError && /has no gradient/.test(error.message)) return [];
    throw error;
  }
}
