/** onnxruntime's attention operators, as its optimizer and its model builder write them. */
import { type Dim, type Node, ops, productOfDims, subDims } from "../../../../compiler/index.ts";
import { pointwise } from "../broadcast.ts";
import { boolean } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { type Tensor, tensor, type Value } from "../values.ts";
import { attend, attentionAxes as axes, both, continued, inHeads, joinedHeads, turned } from "./attention.ts";
import { matmul } from "./products.ts";
import { concatAlong, rangeOf } from "./ranges.ts";
import { permuted, reshapeTo } from "./shapes.ts";

const { add, cast, iota, le, lt } = ops;

export type Heads = readonly [q: Tensor, k: Tensor, v: Tensor];

/** The place of each query or key in its sequence, as i32. */
export const along = (name: string, size: Dim): Node =>
  size === 1 ? ops.constant(0, "i32") : iota({ name, size }, "i32");

/** Queries are the last of all tokens: each sees the keys up to its own place. */
const causal = (queries: Dim, keys: Dim): Node =>
  le(along(axes.key, keys), add(along(axes.query, queries), ops.sizeOf(subDims(keys, queries), "i32")));

/** A mask of whole numbers, 1 where a key is visible, as booleans of another shape. */
function asVisible(n: NodeView, mask: Value, shape: readonly Dim[]): Value {
  const x = n.tensor(mask, ["batch", "key"]);
  return reshapeTo(n, { ...x, type: boolean, node: ops.gt(x.node, 0) }, shape);
}

interface Masked {
  readonly masks: readonly Value[];
  readonly visible: Node | undefined;
}

/**
 * What a mask operand hides: numbers of valid keys, [batch]; or 1 for valid, [batch, keys] or [batch, queries, keys].
 */
function maskedBy(n: NodeView, mask: Value | undefined, [q, k]: Heads): Masked {
  if (!mask) return { masks: [], visible: undefined };
  const [batch, keys] = [q.shape[0]!, k.shape[2]!];
  const { shape } = mask;
  if (shape.length === 1 && shape[0] === batch)
    return { masks: [], visible: lt(along(axes.key, keys), cast(n.named(mask, [axes.batch]), "i32")) };
  if (shape.length === 2) return { masks: [asVisible(n, mask, [shape[0]!, 1, 1, shape[1]!])], visible: undefined };
  if (shape.length === 3)
    return { masks: [asVisible(n, mask, [shape[0]!, 1, shape[1]!, shape[2]!])], visible: undefined };
  throw n.fail(`a mask of [${shape.join(", ")}] is not imported`);
}

/** Throws where an operand is given that is not imported. */
export function refuse(n: NodeView, ...operands: readonly (readonly [number, string])[]): void {
  for (const [i, what] of operands) if (n.inputs[i]) throw n.fail(`${what} is not imported`);
}

export function refuseFlags(n: NodeView, ...names: readonly string[]): void {
  for (const name of names) if (n.int(name, 0) > 0) throw n.fail(`${name} is not imported`);
}

export const scaleOf = (n: NodeView): number | undefined => n.float("scale", 0) || undefined;

/** The part of a bias, [widths of queries, keys, values], that belongs to one of them. */
function biased(n: NodeView, x: Value, bias: Value | undefined, start: Dim): Value {
  if (!bias) return x;
  const part = rangeOf(n, bias, 0, start, x.shape.at(-1)!);
  return pointwise(n, [x, part], ([a, b]) => add(a!, b!));
}

/** Queries, keys and values of MultiHeadAttention: separate, or packed as [batch, tokens, heads, 3 or 2, width]. */
function separate(n: NodeView, heads: number): Heads {
  const [query, key, value, bias] = [n.in(0), n.inputs[1], n.inputs[2], n.inputs[3]];
  const unpacked = (packed: Value, k: number): Tensor => {
    const [batch, tokens, own, , width] = packed.shape as [Dim, Dim, Dim, Dim, Dim];
    if (bias) throw n.fail("a bias of packed operands is not imported");
    return permuted(n, reshapeTo(n, rangeOf(n, packed, 3, k, 1), [batch, tokens, own, width]), [0, 2, 1, 3]);
  };
  if (query.shape.length === 5) return [unpacked(query, 0), unpacked(query, 1), unpacked(query, 2)];
  if (!key) throw n.fail("keys are missing");
  const [width, q] = [query.shape.at(-1)!, inHeads(n, biased(n, query, bias, 0), heads)];
  if (key.shape.length === 5) return [q, unpacked(key, 0), unpacked(key, 1)];
  if (!value) throw n.fail("values are missing");
  if (key.shape.length === 4) {
    if (bias) throw n.fail("a bias of keys that are in heads already is not imported");
    return [q, inHeads(n, key, heads), inHeads(n, value, heads)];
  }
  const k = inHeads(n, biased(n, key, bias, width), heads);
  return [q, k, inHeads(n, biased(n, value, bias, productOfDims([2, width])), heads)];
}

/** Attention with a mask operand, and what MultiHeadAttention and Attention share: a bias of the logits, causality. */
function masked(n: NodeView, heads: Heads, mask: Value | undefined): Tensor {
  const [q, k] = heads;
  const { masks, visible } = maskedBy(n, mask, heads);
  const { four } = attend(n, heads, {
    masks: n.inputs[5] ? [...masks, n.inputs[5]] : masks,
    visible: both(visible, n.flag("unidirectional") ? causal(q.shape[2]!, k.shape[2]!) : undefined),
    scale: scaleOf(n),
    softcap: 0,
  });
  return joinedHeads(n, four);
}

function multiHead(n: NodeView): readonly (Value | undefined)[] {
  refuse(n, [8, "a cache that is written in place"], [9, "an indirection of the cache"]);
  const [q, newKeys, newValues] = separate(n, n.int("num_heads"));
  const heads: Heads = [q, continued(n, n.inputs[6], newKeys), continued(n, n.inputs[7], newValues)];
  const [, k, v] = heads;
  return [masked(n, heads, n.inputs[4]), k, v];
}

/** Attention with the projection of its input to queries, keys and values. */
export function projectedAttention(n: NodeView): readonly (Value | undefined)[] {
  refuse(n, [6, "a cache that is written in place"]);
  refuseFlags(n, "do_rotary");
  const heads = n.int("num_heads");
  const [x, weight, bias, past] = [n.x(0, ["batch", "token", "embed"]), n.in(1), n.inputs[2], n.inputs[4]];
  const total = weight.shape.at(-1)!;
  if (weight.shape.length !== 2 || typeof total !== "number") throw n.fail(`weights of [${weight.shape.join(", ")}]`);
  const widths = n.ints("qkv_hidden_sizes") ?? [total / 3, total / 3, total / 3];
  const product = matmul(n, x, weight);
  const all = bias ? pointwise(n, [product, bias], ([a, b]) => add(a!, b!)) : product;
  let start = 0;
  const [q, newKeys, newValues] = widths.map((width) => {
    start += width;
    return inHeads(n, rangeOf(n, all, 2, start - width, width), heads);
  }) as [Tensor, Tensor, Tensor];
  const of = (i: number): Value | undefined => past && reshapeTo(n, rangeOf(n, past, 0, i, 1), past.shape.slice(1));
  const operands: Heads = [q, continued(n, of(0), newKeys), continued(n, of(1), newValues)];
  const [, k, v] = operands;
  const present = n.wants(1)
    ? concatAlong(
        n,
        [k, v].map((t) => reshapeTo(n, t, [1, ...t.shape])),
        0,
      )
    : undefined;
  return [masked(n, operands, n.inputs[3]), present];
}

/** Tensors of the importer have no axes of one element. */
export const withoutOnes = (x: Node, names: readonly string[]): Node =>
  names.reduce((y, name) => (y.type.axes.find((a) => a.name === name)?.size === 1 ? ops.dropAxis(y, name) : y), x);

function rotary(n: NodeView): Value {
  refuseFlags(n, "is_packed_batching");
  const [given, positions, cosine] = [n.in(0), n.in(1), n.in(2)];
  if (n.float("scale", 1) !== 1) throw n.fail("a scale is not imported");
  const width = n.int("rotary_embedding_dim", 0) || (productOfDims([2, cosine.shape[1]!]) as number);
  const isFlat = given.shape.length === 3;
  const total = given.shape.at(-1)!;
  const heads = n.int("num_heads", 0) || (typeof total === "number" ? total / width : 0);
  const x = inHeads(n, given, isFlat ? heads : undefined);
  const [batch, , tokens] = x.shape as [Dim, Dim, Dim];
  const places = positions.shape.length === 1 ? counted(n, positions, batch, tokens) : positions;
  const whole = turned(n, x, { tables: [cosine, n.in(3)], positions: places, width, pairs: n.flag("interleaved") });
  return isFlat ? joinedHeads(n, n.tensor(whole)) : whole;
}

/** Places from a first one on, [batch, tokens]. */
function counted(n: NodeView, first: Value, batch: Dim, tokens: Dim): Tensor {
  const from = cast(n.named(reshapeTo(n, first, []), []), "i32");
  const sizes = [
    { name: axes.batch, size: batch },
    { name: axes.query, size: tokens },
  ];
  const place = ops.broadcast(
    add(from, along(axes.query, tokens)),
    sizes.filter((a) => a.name === axes.batch || a.size === 1),
  );
  const int32 = first.type;
  return tensor(int32, [batch, tokens], [axes.batch, axes.query], withoutOnes(place, [axes.batch, axes.query]));
}

export const attentionForms: Records = {
  "com.microsoft.MultiHeadAttention": { build: multiHead },
  "com.microsoft.Attention": { build: projectedAttention },
  "com.microsoft.RotaryEmbedding": { build: rotary },
};
