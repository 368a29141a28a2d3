/** onnxruntime's attention of grouped queries over a cache, which grows or is written in place. */
import { addDims, type Dim, type Node, ops, printDim, productOfDims, subDims } from "../../../../compiler/index.ts";
import { shownName } from "../file-names.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { certainly } from "../sizes.ts";
import { knownOf, type Tensor, tensor, type Value } from "../values.ts";
import { attend, attentionAxes as axes, both, inHeads, joinedHeads, turned } from "./attention.ts";
import { along, type Heads, refuse, refuseFlags, scaleOf, withoutOnes } from "./attention-forms.ts";
import { concatAlong, rangeOf } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";

const { add, and, cast, ge, le, lt, max, min, select, sub } = ops;

/**
 * Attention of grouped queries over a cache, whose rows may hold different numbers of tokens: `seqlens_k` counts those
 * of each row, less one.
 */
function groupQuery(n: NodeView): readonly (Value | undefined)[] {
  refuse(n, [11, "a sink of heads"], [12, "a norm of queries and keys"], [13, "a norm of queries and keys"]);
  refuseFlags(n, "smooth_softmax", "qk_output");
  for (const name of ["k_quant_type", "v_quant_type"])
    if (n.text(name, "NONE") !== "NONE") throw n.fail(`${name} ${n.text(name, "")} is not imported`);
  const [heads, keyHeads] = [n.int("num_heads"), n.int("kv_num_heads")];
  const [given, past] = [unpacked(n, heads, keyHeads), n.inputs[3]];
  const [batch, , queries] = given[0].shape as [Dim, Dim, Dim];
  const length = past ? cacheLength(n, past.shape[2]!, queries) : queries;
  const last = n.tensor(reshapeTo(n, n.in(5), [batch]), ["batch"]);
  // How many tokens of each row are in the cache; a row of a first prompt that is padded has fewer tokens than queries.
  const cached = max(sub(add(cast(n.named(last, [axes.batch]), "i32"), 1), ops.sizeOf(queries, "i32")), 0);
  const place = add(cached, along(axes.query, queries));
  const tokens = add(cached, ops.sizeOf(queries, "i32"));
  const [q, newKeys, newValues] = n.flag("do_rotary") ? rotatedAt(n, given, place, batch) : given;
  const [k, v] = [[past, newKeys] as const, [n.inputs[4], newValues] as const].map(([earlier, made]) =>
    earlier ? written(n, earlier, made, { cached, length }) : made,
  ) as [Tensor, Tensor];
  const key = along(axes.key, length);
  const window = n.int("local_window_size", -1);
  const near = window > 0 ? ops.gt(key, sub(place, window)) : undefined;
  const { four } = attend(n, [q, k, v], {
    masks: n.inputs[10] ? [n.inputs[10]] : [],
    visible: both(n.flag("unidirectional", true) ? le(key, place) : lt(key, tokens), near),
    scale: scaleOf(n),
    softcap: n.float("softcap", 0),
  });
  return [joinedHeads(n, four), k, v];
}

/** Operands of grouped queries in heads: separate, or one operand of all their widths. */
function unpacked(n: NodeView, heads: number, keyHeads: number): Heads {
  const [packed, key, value] = [n.in(0), n.inputs[1], n.inputs[2]];
  if (key && value) return [inHeads(n, packed, heads), inHeads(n, key, keyHeads), inHeads(n, value, keyHeads)];
  const total = packed.shape.at(-1)!;
  const width = typeof total === "number" ? total / (heads + 2 * keyHeads) : Number.NaN;
  if (!Number.isInteger(width)) throw n.fail(`a width of ${total} in ${heads} + 2 · ${keyHeads} heads`);
  const part = (from: number, count: number) => inHeads(n, rangeOf(n, packed, 2, from * width, count * width), count);
  return [part(0, heads), part(heads, keyHeads), part(heads + keyHeads, keyHeads)];
}

/** Queries and keys rotated to their places; values as they are. */
function rotatedAt(n: NodeView, [q, k, v]: Heads, place: Node, batch: Dim): Heads {
  const tokens = q.shape[2]!;
  const int32 = n.in(5).type;
  const whole = ops.broadcast(
    place,
    [
      { name: axes.batch, size: batch },
      { name: axes.query, size: tokens },
    ].filter((a) => !place.type.axes.some((own) => own.name === a.name)),
  );
  const positions =
    n.inputs[9] ??
    tensor(int32, [batch, tokens], [axes.batch, axes.query], withoutOnes(whole, [axes.batch, axes.query]));
  const rotation = {
    tables: [n.in(7), n.in(8)] as const,
    positions,
    width: productOfDims([2, n.in(7).shape[1]!]) as number,
    pairs: n.flag("rotary_interleaved"),
  };
  return [n.tensor(turned(n, q, rotation)), n.tensor(turned(n, k, rotation)), v];
}

/**
 * How many tokens the new cache has. It is as long as the earlier one if that has room for all tokens, and is then
 * written in place: `total_sequence_length` tells.
 */
function cacheLength(n: NodeView, before: Dim, queries: Dim): Dim {
  const total = knownOf(n.inputs[6])?.values[0];
  if (total !== undefined && certainly(before, ">=", total)) return before;
  if (total !== undefined && certainly(total, ">=", before)) return total;
  if (typeof before !== "number") return addDims(before, queries);
  const given = shownName(n.message.input[6] ?? "");
  const open = total === undefined ? `"${given}", which is computed when the model runs` : printDim(total);
  const how = total === undefined ? `if it is an input, give it as one of \`constants\`` : n.toGive(total);
  throw n.fail(`whether a cache of ${before} tokens grows or is written in place depends on ${open}: ${how}`);
}

interface Cache {
  /** How many tokens of each row are in it. */
  readonly cached: Node;
  readonly length: Dim;
}

/**
 * A cache with the new tokens of each row behind its own, [batch, heads, tokens, width]; the others stay as they are.
 */
function written(n: NodeView, past: Value, made: Tensor, { cached, length }: Cache): Tensor {
  const joined = n.tensor(concatAlong(n, [past, made], 2));
  const [before, added] = [past.shape[2]!, made.shape[2]!];
  const key = along("token_of_cache", length);
  const place = sub(key, cached);
  const isNew = and(ge(place, 0), lt(place, ops.sizeOf(added, "i32")));
  const earlier = min(key, ops.sizeOf(subDims(before, 1), "i32"));
  const from = select(isNew, add(ops.sizeOf(before, "i32"), place), earlier);
  const names = [axes.batch, axes.head, "row_of_cache", axes.width];
  const node = ops.gather(n.named(joined, names), from, "row_of_cache");
  return tensor(
    joined.type,
    [...joined.shape.slice(0, 2), length, joined.shape[3]!],
    [axes.batch, axes.head, "token_of_cache", axes.width],
    node,
  );
}

export const groupedQueryRecords: Records = {
  "com.microsoft.GroupQueryAttention": { build: groupQuery },
};
