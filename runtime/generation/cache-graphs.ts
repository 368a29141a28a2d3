/**
 * Decoder graphs over a preallocated KV cache. A decoder that takes its cache as an input and returns it extended
 * (inputs `past_key_values.N.key`, outputs `present.N.key`, as in ONNX decoders) would copy the whole cache for every
 * token. Here the cache is state with `capacity` slots that stays on the device; a run writes its tokens' keys and
 * values into the next free slots. `attention_mask` hides slots that are free or hold padding. The capacity and the
 * number of tokens may stay symbolic until a run, so that one compiled graph serves every length.
 */
import {
  bindSizes,
  type Dim,
  type DType,
  type Graph,
  indexMapOf,
  inputName,
  makeGraph,
  type Node,
  nodesOf,
  type Output,
  ops,
  printType,
  rewriteNodes,
  type SizedAxis,
  sourceOf,
  subDims,
  UsageError,
} from "../../compiler/index.ts";
import { candidatesOf } from "./candidate-graphs.ts";
import {
  batchOf,
  type CacheShape,
  type CacheState,
  cacheStates,
  type KeptState,
  outputNamed,
  pastPart,
  presentName,
  sizedStep,
  sourcePart,
  sourceStates,
  stateName,
} from "./decoder-shape.ts";

/** The inputs that this file adds to those of the decoder. */
export const cacheInputs = {
  /** i32: the number of occupied slots, where the run's tokens are written. */
  filled: "filled",
  /** i32 [batch]: the index of each row's last token within the run. */
  last: "last",
  /** i32 [parent_row]: the row whose cache each row continues from. */
  parents: "parents",
} as const;

/**
 * The step graph of a decoder, over a cache. Its inputs stay (`input_ids`, `position_ids` [batch, token],
 * `attention_mask` [batch, key = the cache's slots]), `filled` and `last` are added; `logits` become those of each
 * row's last token, [batch, vocab]. Rows may have fewer tokens than others: their padding is written to the cache and
 * overwritten later. The new tokens are written before attention reads them, so the cache is never copied: concat(past,
 * now) is replaced by the updated cache, and the size of the past by `filled`. Throws UsageError for a graph that is
 * not a decoder's step.
 */
export function cachedStep(step: Graph, shape: CacheShape, tokens: Dim, { rank, reorders }: StepOptions = {}): Graph {
  const past = subDims(shape.capacity, tokens); // so that past and new tokens together fill the cache's slots
  const graph = sizedStep(step, shape.rows, past, tokens);
  const states = new Map(cacheStates(step, shape).map((s) => [s.part, s]));
  const sources = new Map(sourceStates(step, shape).map((s) => [s.part, s.node]));
  const updated = new Map<string, Node>();
  const results = rewriteNodes(
    graph.outputs.map((o) => o.node),
    (node, original) => {
      if (sourceOf(node) === "size" && node.attrs.of === past) return filledAs(node.type.dtype);
      if (sourcePart(node) !== "") return ops.cast(sources.get(sourcePart(node))!, node.type.dtype);
      const [kept, now, ...others] = node.operands;
      const state = states.get(kept ? pastPart(kept) : "");
      if (indexMapOf(original)?.consecutive === undefined || !state || !now || others.length > 0) return node;
      const update = inserted(state, now, reorders ? fromParents(state.node, shape.rows) : state.node);
      updated.set(state.part, update);
      return ops.cast(likeState(update, node), node.type.dtype);
    },
  );
  const updates = [...updated].map(([part, node]): Output => ({ name: presentName(part), node }));
  const scores = atLast(results.get(outputNamed(graph, "logits"))!);
  const outputs = rank === undefined ? [{ name: "logits", node: scores }] : candidatesOf(scores, rank);
  const made = withUpdates(`${step.name}.step`, outputs, updates, []);
  assertWhole(made, step, past, updated.size === states.size);
  return made;
}

export interface StepOptions {
  /** Output this many of the likeliest next tokens (`candidateOutputs`) instead of all scores. */
  readonly rank?: number;
  /** Reorder the cache's rows first, as in `cacheReordering`. */
  readonly reorders?: boolean;
}

/** Throws UsageError when a decoder uses its past in any way other than appending the new tokens to it. */
function assertWhole(made: Graph, step: Graph, past: Dim, isUpdated: boolean): void {
  const reads = made.inputs.find((n) => pastPart(n) !== "");
  const counts = nodesOf(made).find((n) => typeof past !== "number" && Object.values(n.attrs).includes(past));
  if (isUpdated && !reads && !counts) return;
  const what = counts
    ? `${counts.op} uses its size`
    : reads
      ? `"${inputName(reads)}" is also read whole`
      : "some are not";
  throw new UsageError(
    `graph @${step.name} cannot decode over a cache: past_key_values.N.key and .value must each be followed by the new tokens in one concat, and ${what}`,
  );
}

const filled = (): Node => ops.input(cacheInputs.filled, "i32", []);
const filledAs = (dtype: DType): Node => (dtype === "i32" ? filled() : ops.cast(filled(), dtype));

/**
 * The prefill of a text by a separate graph (one that also reads an image, say): its `present` outputs become the first
 * slots of the cache. Its `batch` divides `rows`; row i of the cache is of batch i · batch / rows. Its number of tokens
 * may stay symbolic; they must fit in the cache.
 */
export function cachedPrefill(prefill: Graph, step: Graph, shape: CacheShape, batch: number): Graph {
  const bound = bindSizes(prefill, { [batchOf(prefill)]: batch });
  const states = cacheStates(step, shape);
  const updates = states.map(({ part, node, axis }): Output => {
    const present = outputNamed(bound, presentName(part));
    const tokens = present.type.axes.find((a) => a.name === axis)!.size;
    const padded = ops.pad(present, axis, 0, subDims(shape.capacity, tokens), 0);
    return { name: presentName(part), node: likeState(spread(ops.cast(padded, node.type.dtype), shape.rows), node) };
  });
  const scores = spread(lastScores(outputNamed(bound, "logits")), shape.rows);
  const sources = sourceUpdates(bound, step, shape);
  return withUpdates(
    prefill.name,
    [{ name: "logits", node: scores }],
    [...updates, ...sources.map(({ output }) => output)],
    [...states.map((s) => s.node), ...sources.map(({ state }) => state)],
  );
}

/** The scores of a prefill's last token, which may be the only one that it has scores of. */
function lastScores(logits: Node): Node {
  const tokens = logits.type.axes.find((a) => a.name === "token")?.size ?? 1;
  return ops.at(tokens === 1 ? logits : ops.slice(logits, "token", subDims(tokens, 1), 1), "token", 0);
}

/**
 * Encodes sources: the encoder's `present.N.encoder` outputs become state, whose axes other than `batch` are those of
 * the outputs. Its `batch` divides `rows`, as in `cachedPrefill`.
 */
export function encodedSources(encoder: Graph, step: Graph, shape: CacheShape, batch: number): Graph {
  const updates = sourceUpdates(bindSizes(encoder, { [batchOf(encoder)]: batch }), step, shape);
  return withUpdates(
    encoder.name,
    [],
    updates.map(({ output }) => output),
    updates.map(({ state }) => state),
  );
}

interface SourceUpdate {
  readonly output: Output;
  readonly state: Node;
}

/**
 * The keys and values of sources that a prefill or an encoder, with its batch bound, computes for a step, and the
 * states that keep them. Throws UsageError if the step takes others.
 */
export function sourceUpdates(bound: Graph, step: Graph, shape: CacheShape): SourceUpdate[] {
  return sourceStates(step, shape).map(({ part, node }) => {
    const present = outputNamed(bound, presentName(part));
    requireAlike(present, node, bound, step, part);
    const kept = likeState(spread(ops.cast(present, node.type.dtype), shape.rows), node);
    const state = ops.state(stateName(part), node.type.dtype, kept.type.axes);
    return { output: { name: presentName(part), node: kept }, state };
  });
}

/** Throws UsageError unless a source's keys or values have the axes that the step takes; symbolic sizes may be any. */
function requireAlike(present: Node, taken: Node, { name }: Graph, step: Graph, part: string): void {
  const differ = (a: Dim, b: Dim) => typeof a === "number" && typeof b === "number" && a !== b;
  const fits = ({ name: axis, size }: { readonly name: string; readonly size: Dim }) => {
    const other = taken.type.axes.find((a) => a.name === axis);
    return other !== undefined && (axis === "batch" || !differ(size, other.size));
  };
  if (present.type.axes.length === taken.type.axes.length && present.type.axes.every(fits)) return;
  throw new UsageError(
    `"${presentName(part)}" of graph @${name} is ${printType(present.type)}, but "past_key_values.${part}" of @${step.name} is ${printType(taken.type)}`,
  );
}

/** Replaces every row of some states by that of its parent: input `parents` i32 [parent_row]. */
export function cacheReordering(name: string, states: readonly KeptState[], rows: number): Graph {
  const updates = states.map(({ part, node }): Output => ({ name: presentName(part), node: fromParents(node, rows) }));
  return makeGraph(`${name}.reorder`, updates, [], updatesOf(updates));
}

const parentRow = "parent_row";

/** The state with every row replaced by its parent's. */
function fromParents(state: Node, rows: number): Node {
  const parents = ops.input(cacheInputs.parents, "i32", [{ name: parentRow, size: rows }]);
  return likeState(ops.rename(ops.gather(state, parents, "batch"), parentRow, "batch"), state);
}

/** The state `kept` with `now` written from slot `filled` on. now [..., axis = tokens] -> [..., axis = capacity] */
const inserted = ({ node, axis }: CacheState, now: Node, kept: Node): Node =>
  likeState(ops.overwrite(kept, ops.cast(likeState(now, node), node.type.dtype), filled(), axis), node);

/** Transposes a node to another's axis order. */
const likeState = (node: Node, other: Node): Node =>
  ops.transpose(
    node,
    other.type.axes.map((a) => a.name),
  );

/** The scores of each row's last token: [batch, token, vocab] -> [batch, vocab] */
function atLast(logits: Node): Node {
  const batch = logits.type.axes.find((a) => a.name === "batch")!;
  return ops.gather(logits, ops.input(cacheInputs.last, "i32", [batch]), "token");
}

/** Repeats every row of a batch so that there are `rows`. */
function spread(node: Node, rows: number): Node {
  const batch = (node.type.axes as readonly SizedAxis[]).find((a) => a.name === "batch")!.size;
  if (batch === rows) return node;
  if (rows % batch !== 0) throw new UsageError(`${rows} rows are not divisible by a prefill batch of ${batch}`);
  const owner = ops.idiv(ops.iota({ name: parentRow, size: rows }, "i32"), rows / batch);
  return ops.rename(ops.gather(node, owner, "batch"), parentRow, "batch");
}

const updatesOf = (updates: readonly Output[]): Record<string, string> =>
  Object.fromEntries(updates.map(({ name }) => [name, stateName(name.slice(presentName("").length))]));

const withUpdates = (
  name: string,
  outputs: readonly Output[],
  updates: readonly Output[],
  declared: readonly Node[],
): Graph => makeGraph(name, [...outputs, ...updates], declared, updatesOf(updates));
