/** ONNX attention and rotary embedding operators. */
import { addDims, type Dim, divideDims, type Node, ops, productOfDims } from "../../../../compiler/index.ts";
import { boolean } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { freshName, type Tensor, tensor, type Value } from "../values.ts";
import { chosen, concatAlong, rangeOf } from "./ranges.ts";
import { permuted, reshapeTo } from "./shapes.ts";

const { add, and, cast, contract, div, exp, max, mul, reduceMax, reduceSum, select, sub, tanh } = ops;

/** Axis names of the logits: key heads, and the group of query heads that share one. */
export const attentionAxes = {
  batch: "batch",
  head: "head",
  group: "group",
  query: "query",
  key: "key",
  dot: "dot",
  width: "width",
} as const;

/** Reshapes an operand, [batch, tokens, heads · width], to [batch, heads, tokens, width]. */
export function inHeads(n: NodeView, value: Value, heads: number | undefined): Tensor {
  if (value.shape.length === 4) return n.tensor(value, ["batch", "head", "token", "dot"]);
  if (value.shape.length !== 3 || heads === undefined)
    throw n.fail(`an input has ${value.shape.length} dimensions and the number of heads is missing`);
  const width = divideDims(value.shape[2]!, heads);
  if (width === undefined) throw n.fail(`a width of ${value.shape[2]} is not divisible by ${heads} heads`);
  const x = n.tensor(value, ["batch", "token", "embed"]);
  return permuted(n, reshapeTo(n, x, [value.shape[0]!, value.shape[1]!, heads, width]), [0, 2, 1, 3]);
}

/** Grouped-query attention: splits the axis of query heads into [head, group]. */
function byHeads(n: NodeView, x: Value, heads: Dim, groups: Dim): Value {
  const at = x.shape.length - 3;
  if (at < 0) return x;
  const size = x.shape[at]!;
  const split = size === 1 ? [1, 1] : [heads, groups];
  return reshapeTo(n, x, [...x.shape.slice(0, at), ...split, ...x.shape.slice(at + 1)]);
}

const names = attentionAxes;

interface Mask {
  readonly visible?: Node;
  readonly bias?: Node;
}

const lowest = -3e38;

/** Interprets a mask operand: booleans as visibility, floats as a logit bias, where minus infinity masks. */
function maskOf(n: NodeView, value: Value, keys: Dim, place: (v: Value) => Node): Mask {
  const given = value.shape.at(-1)!;
  const x = n.tensor(value);
  if (x.type.dtype === "bool") return { visible: place(padded(x, keys, given)) };
  const bias = padded(x, keys, given);
  const node = place(bias);
  const visible = ops.gt(node.type.dtype === "f16" ? cast(node, "f32") : node, lowest);
  return { visible, bias: select(visible, node, 0) };
}

/** Extends a mask to all keys; those it does not cover are masked. */
function padded(x: Tensor, keys: Dim, given: Dim): Tensor {
  if (given === keys || given === 1) return x;
  const last = x.shape.length - 1;
  const isBool = x.type.dtype === "bool";
  const node = isBool ? cast(x.node, "i32") : x.node;
  const lacking = addDims(keys, mulMinus(given));
  const wider = ops.pad(node, x.axes[last]!, 0, lacking, isBool ? 0 : -65504);
  const shape = x.shape.map((d, i) => (i === last ? keys : d));
  // -65504 is the lowest f16; the select below masks these keys in any case.
  const inside = ops.lt(ops.iota({ name: x.axes[last]!, size: keys }, "i32"), ops.sizeOf(given, "i32"));
  if (isBool) return tensor(boolean, shape, x.axes, cast(wider, "bool"));
  return tensor(x.type, shape, x.axes, select(inside, wider, ops.constant(Number.NEGATIVE_INFINITY, x.type.dtype)));
}

const mulMinus = (d: Dim): Dim => (typeof d === "number" ? -d : addDims(0, productOfDims([-1, d])));

/** Visible by both. */
export const both = (a: Node | undefined, b: Node | undefined): Node | undefined => (a && b ? and(a, b) : (a ?? b));

function attention(n: NodeView): readonly (Value | undefined)[] {
  const headCount = (name: string) => (n.has(name) && n.int(name) > 0 ? n.int(name) : undefined);
  const q = inHeads(n, n.in(0), headCount("q_num_heads"));
  const [newKeys, newValues] = [1, 2].map((i) => inHeads(n, n.in(i), headCount("kv_num_heads"))) as [Tensor, Tensor];
  const k = continued(n, n.inputs[4], newKeys);
  const v = continued(n, n.inputs[5], newValues);
  const [queries, keys] = [q.shape[2]!, k.shape[2]!];
  const { four, logits } = attend(n, [q, k, v], {
    masks: n.inputs[3] ? [n.inputs[3]] : [],
    visible: positions(n, { queries, keys }),
    scale: n.has("scale") ? n.float("scale") : undefined,
    softcap: n.float("softcap", 0),
  });
  return [n.in(0).shape.length === 3 ? joinedHeads(n, four) : four, k, v, logits];
}

/** Keys or values, [batch, heads, tokens, width], behind those of earlier tokens. */
export const continued = (n: NodeView, past: Value | undefined, made: Tensor): Tensor =>
  past ? n.tensor(concatAlong(n, [past, made], 2)) : made;

/** [batch, heads, tokens, width] to [batch, tokens, heads · width]. */
export function joinedHeads(n: NodeView, four: Tensor): Tensor {
  const [batch, heads, tokens, width] = four.shape as [Dim, Dim, Dim, Dim];
  return n.tensor(reshapeTo(n, permuted(n, four, [0, 2, 1, 3]), [batch, tokens, productOfDims([heads, width])]));
}

/** What an attention operator does besides its products. */
export interface AttentionSettings {
  /**
   * Booleans, true where a key is visible, or floats added to the logits; broadcast to [batch, heads, queries, keys].
   */
  readonly masks: readonly Value[];
  /** Visibility over the axes `attentionAxes`. */
  readonly visible: Node | undefined;
  /** Default: 1 / √width. */
  readonly scale: number | undefined;
  readonly softcap: number;
}

/**
 * Attention of queries to keys and values, each [batch, heads, tokens, width]; heads of queries may share those of
 * keys.
 */
export function attend(
  n: NodeView,
  [q, k, v]: readonly [Tensor, Tensor, Tensor],
  settings: AttentionSettings,
): { readonly four: Tensor; readonly logits: Value | undefined } {
  const [batch, heads, queries, width] = q.shape as [Dim, Dim, Dim, Dim];
  const [keyHeads, keys] = [k.shape[1]!, k.shape[2]!];
  const groups = divideDims(heads, keyHeads);
  if (groups === undefined) throw n.fail(`${heads} query heads are not divisible by ${keyHeads} key heads`);
  const order = [names.batch, names.head, names.group, names.query];
  const query = wholeAxis(n.named(byHeads(n, q, keyHeads, groups), [...order, names.dot]), names.dot, width);
  const key = wholeAxis(
    wholeAxis(n.named(k, [names.batch, names.head, names.key, names.dot]), names.dot, width),
    names.key,
    keys,
  );
  const value = wholeAxis(n.named(v, [names.batch, names.head, names.key, names.width]), names.key, keys);
  const place = (x: Value) =>
    n.named(
      byHeads(n, x, keyHeads, groups),
      [...order, names.key].slice(-(x.shape.length < 3 ? x.shape.length : x.shape.length + 1)),
    );
  const masks = settings.masks.map((mask) => maskOf(n, mask, keys, place));
  const visible = masks.map((mask) => mask.visible).reduce(both, settings.visible);
  const bias = masks
    .flatMap((mask) => mask.bias ?? [])
    .reduce<Node | undefined>((a, b) => (a ? add(a, b) : b), undefined);
  const scale = settings.scale ?? (width as number) ** -0.5;
  if (!Number.isFinite(scale)) throw n.fail(`the width ${width} must be a number: ${n.toGive(width)}`);
  const parts: Parts = { query, key, value, scale, softcap: settings.softcap, visible, bias };
  const { out, logits } = computed(n, parts);
  const wide = v.shape[3]!;
  const made = tensor(q.type, [batch, keyHeads, groups, queries, wide], [...order, names.width], out);
  const seen =
    logits &&
    reshapeTo(n, tensor(q.type, [batch, keyHeads, groups, queries, keys], [...order, names.key], logits), [
      batch,
      heads,
      queries,
      keys,
    ]);
  return { four: n.tensor(reshapeTo(n, made, [batch, heads, queries, wide])), logits: seen };
}

/** Adds back a size-1 axis, which contractions need. */
const wholeAxis = (node: Node, name: string, size: Dim): Node =>
  size === 1 ? ops.broadcast(node, [{ name, size: 1 }]) : node;

/** Visibility by position: causal, sliding-window and padding masks. */
function positions(n: NodeView, { queries, keys }: { readonly queries: Dim; readonly keys: Dim }): Node | undefined {
  const lengths = n.inputs[6] && n.named(n.in(6), [names.batch]);
  const key = keys === 1 ? ops.constant(0, "i32") : ops.iota({ name: names.key, size: keys }, "i32");
  const own = queries === 1 ? ops.constant(0, "i32") : ops.iota({ name: names.query, size: queries }, "i32");
  const before = n.inputs[4]
    ? ops.sizeOf(n.in(4).shape[2]!, "i32")
    : lengths
      ? sub(lengths, ops.sizeOf(queries, "i32"))
      : undefined;
  const query = before ? add(own, before) : own;
  const [left, right] = ["left_window_size", "right_window_size"].map((name) => Math.min(n.int(name, -1), 2 ** 30)) as [
    number,
    number,
  ];
  const limits = [
    n.flag("is_causal") ? ops.le(key, query) : undefined,
    left >= 0 ? ops.le(sub(query, key), left) : undefined,
    right >= 0 ? ops.le(sub(key, query), right) : undefined,
    lengths ? ops.lt(key, lengths) : undefined,
  ];
  return limits.reduce(both, undefined);
}

interface Parts {
  readonly query: Node;
  readonly key: Node;
  readonly value: Node;
  readonly scale: number;
  readonly softcap: number;
  readonly visible: Node | undefined;
  readonly bias: Node | undefined;
}

/** Uses the attention op if the operator only needs a mask; otherwise expands it. */
function computed(
  n: NodeView,
  { query, key, value, scale, softcap, visible, bias }: Parts,
): { out: Node; logits?: Node } {
  const axes = { dot: names.dot, over: names.key, scale, ...(softcap !== 0 && { softcap }) };
  if (!n.wants(3)) {
    if (!bias) return { out: ops.attention(query, key, value, axes, visible) };
    return { out: ops.biasedAttention(query, key, value, bias, axes, visible) };
  }
  const plain = mul(contract(query, key, [names.dot]), scale);
  const capped = softcap === 0 ? plain : mul(tanh(div(plain, softcap)), softcap);
  const biased = bias ? add(capped, bias) : capped;
  const hidden = ops.constant(query.type.dtype === "f16" ? -65504 : -1e30, query.type.dtype);
  const masked = visible ? select(visible, biased, hidden) : biased;
  const raised = exp(sub(masked, reduceMax(masked, [names.key])));
  const kept = visible ? select(visible, raised, 0) : raised;
  const total = reduceSum(kept, [names.key]);
  const weights = div(kept, visible ? max(total, 1e-30) : total);
  const out = contract(weights, value, [names.key]);
  const infinite = ops.constant(Number.NEGATIVE_INFINITY, query.type.dtype);
  const shown = [plain, capped, visible ? select(visible, biased, infinite) : biased, weights];
  const mode = n.int("qk_matmul_output_mode", 0);
  const logits = shown[mode];
  if (!logits) throw n.fail(`unsupported qk_matmul_output_mode ${mode}`);
  return { out, logits: lackingKey(logits) };
}

const lackingKey = (x: Node): Node => {
  const key = x.type.axes.find((a) => a.name === names.key);
  return key?.size === 1 ? ops.dropAxis(x, names.key) : x;
};

/** Rotates pairs of the width by angles whose sines and cosines are operands. */
function rotary(n: NodeView): Value {
  const given = n.in(0);
  const isFlat = given.shape.length === 3;
  const x = inHeads(n, given, isFlat ? n.int("num_heads", 0) : undefined);
  const whole = turned(n, x, {
    tables: [n.in(1), n.in(2)],
    positions: n.inputs[3],
    width: n.int("rotary_embedding_dim", 0),
    pairs: n.flag("interleaved"),
  });
  return isFlat ? joinedHeads(n, n.tensor(whole)) : whole;
}

export interface Rotation {
  /**
   * Cosines and sines: [positions, pairs] where positions are given, else [batch, tokens, pairs] or [tokens, pairs].
   */
  readonly tables: readonly [cosine: Value, sine: Value];
  /** The place of each token: [batch, tokens]. */
  readonly positions: Value | undefined;
  /** Elements that are rotated; 0: all of them. */
  readonly width: number;
  /** Whether neighbouring elements are pairs; otherwise the two halves are. */
  readonly pairs: boolean;
}

/** Rotary embedding of x, [batch, heads, tokens, width]. */
export function turned(n: NodeView, x: Tensor, { tables, positions, width: rotated, pairs }: Rotation): Value {
  const width = x.shape[3]!;
  if (typeof width !== "number") throw n.fail(`the width ${width} must be a number`);
  const count = rotated || width;
  if (count % 2 !== 0 || count > width) throw n.fail(`cannot rotate ${count} of ${width} elements`);
  const half = count / 2;
  const head = rangeOf(n, x, 3, 0, count);
  const places = (k: number) => Array.from({ length: half }, (_, i) => (pairs ? 2 * i + k : i + k * half));
  const [a, b] = [0, 1].map((k) => n.tensor(chosen(n, head, 3, places(k)))) as [Tensor, Tensor];
  const axes = [...a.axes.slice(0, 3), half === 1 ? undefined : freshName("pair", a.axes)];
  const angle = (table: Value): Node => {
    const token = [axes[2], axes[3]];
    if (!positions) return n.named(table, table.shape.length === 2 ? token : [axes[0], ...token]);
    const row = freshName("position", axes);
    return ops.gather(n.named(table, [row, axes[3]]), n.named(positions, [axes[0], axes[2]]), row);
  };
  const [cosine, sine] = tables.map(angle) as [Node, Node];
  const [first, second] = [a, b].map((t) => n.named(t, axes)) as [Node, Node];
  const part = (node: Node): Tensor => tensor(x.type, a.shape, axes, node);
  const real = part(sub(mul(cosine, first), mul(sine, second)));
  const imaginary = part(add(mul(sine, first), mul(cosine, second)));
  const shape = [...x.shape.slice(0, 3), count];
  const joined = pairs
    ? reshapeTo(
        n,
        n.tensor(
          concatAlong(
            n,
            [real, imaginary].map((t) => reshapeTo(n, t, [...a.shape, 1])),
            4,
          ),
        ),
        shape,
      )
    : concatAlong(n, [real, imaginary], 3);
  return count === width ? joined : concatAlong(n, [joined, rangeOf(n, x, 3, count, width - count)], 3);
}

export const attentionRecords: Records = {
  Attention: { build: attention },
  RotaryEmbedding: { build: rotary },
};
