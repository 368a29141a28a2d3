/**
 * Decoder graphs over a cache of fixed capacity. A decoder that takes what is remembered and gives it back longer (inputs
 * `past_key_values.N.key`, outputs `present.N.key`, as ONNX decoders have them) would be compiled anew for every token.
 * Here the past is state of `capacity` places that stays on the device; a run writes its tokens' keys and values into the
 * next free places. What is free, or no token of a row, the `attention_mask` hides.
 */
import {
  bindSizes,
  type Graph,
  indexMapOf,
  makeGraph,
  type Node,
  type Output,
  ops,
  rewriteNodes,
  type SizedAxis,
  type Sizes,
  UsageError,
} from "../../compiler/index.ts";
import {
  type CacheShape,
  type CacheState,
  cacheStates,
  outputNamed,
  pastPart,
  presentName,
  sizedStep,
  stateName,
} from "./decoder-shape.ts";

/** The inputs that this file adds; the others are the decoder's own. */
export const cacheInputs = {
  /** i32: places that are taken, where the run's tokens go on. */
  filled: "filled",
  /** i32 [batch]: each row's last token among the run's; absent when there is one. */
  last: "last",
  /** i32 [parent_row]: the row that each row goes on from. */
  parents: "parents",
} as const;

/**
 * The step of a decoder, `tokens` tokens at a time. Its inputs stay (`input_ids`, `position_ids` [batch, token],
 * `attention_mask` [batch, key]), `filled` and `last` come in; `logits` become those of each row's last token, [batch,
 * vocab]. Rows may have fewer than `tokens` tokens: what follows them is written to the cache and overwritten later.
 * The keys are the cache's places, where the axis of `attention_mask` is `capacity` long, or these and the new tokens
 * after them. Throws UsageError for a graph that is no decoder's step.
 */
export function cachedStep(step: Graph, shape: CacheShape, tokens: number): Graph {
  return (tokens === 1 ? stepInPlace(step, shape) : undefined) ?? stepThenWrite(step, shape, tokens);
}

/**
 * One token, written to its place before attention reads it, so that no longer copy of the cache is made: the graph for a
 * past of one place less, with concat(past, now) replaced by the cache after the update. Undefined where the past is used
 * in another way.
 */
function stepInPlace(step: Graph, shape: CacheShape): Graph | undefined {
  const graph = sizedStep(step, shape.rows, shape.capacity - 1, 1);
  const states = new Map(cacheStates(step, shape).map((s) => [s.part, s]));
  const updated = new Map<string, Node>();
  const results = rewriteNodes(
    graph.outputs.map((o) => o.node),
    (node, original) => {
      const [past, now, ...others] = node.operands;
      const state = states.get(past ? pastPart(past) : "");
      if (indexMapOf(original)?.consecutive === undefined || !state || !now || others.length > 0) return node;
      const update = inserted(state, now, 1);
      updated.set(state.part, update);
      return likeState(update, node);
    },
  );
  const updates = [...updated].map(([part, node]): Output => ({ name: presentName(part), node }));
  const scores = results.get(outputNamed(graph, "logits"))!;
  const made = withUpdates(`${step.name}.step1`, atLast(scores, 1), updates, []);
  const isWhole = updated.size === states.size && !made.inputs.some((n) => pastPart(n) !== "");
  return isWhole ? made : undefined;
}

/** Any number of tokens: attention reads the cache and them, and then they are written into it. */
function stepThenWrite(step: Graph, shape: CacheShape, tokens: number): Graph {
  const graph = sizedStep(step, shape.rows, shape.capacity, tokens);
  const states = new Map(cacheStates(step, shape).map((s) => [s.part, s]));
  const results = rewriteNodes(
    graph.outputs.map((o) => o.node),
    (node) => states.get(pastPart(node))?.node ?? node,
  );
  const output = (name: string) => results.get(outputNamed(graph, name))!;
  const updates = [...states.values()].map((state): Output => {
    const now = ops.slice(output(presentName(state.part)), state.axis, shape.capacity, tokens);
    return { name: presentName(state.part), node: inserted(state, now, tokens) };
  });
  return withUpdates(`${step.name}.step${tokens}`, atLast(output("logits"), tokens), updates, []);
}

/**
 * The beginning of a text by a graph of its own (one that also reads an image, say): its `present` outputs become the
 * first places of the cache. Its batch divides `rows`; row i of the cache is of batch i · batch / rows. Sizes that the
 * graph leaves open are given.
 */
export function cachedBeginning(beginning: Graph, step: Graph, shape: CacheShape, sizes: Sizes): Graph {
  const bound = bindSizes(beginning, sizes);
  const states = cacheStates(step, shape);
  const updates = states.map(({ part, node, axis }): Output => {
    const present = outputNamed(bound, presentName(part));
    const tokens = (present.type.axes as readonly SizedAxis[]).find((a) => a.name === axis)!.size;
    if (tokens > shape.capacity) throw new UsageError(`${tokens} tokens do not fit a cache of ${shape.capacity}`);
    const padded = ops.pad(present, axis, 0, shape.capacity - tokens, 0);
    return { name: presentName(part), node: likeState(spread(padded, shape.rows), node) };
  });
  const scores = spread(atLast(outputNamed(bound, "logits"), 1), shape.rows);
  return withUpdates(
    beginning.name,
    scores,
    updates,
    states.map((s) => s.node),
  );
}

/** Every row takes over another's cache: input `parents` i32 [parent_row]. */
export function cacheReordering(step: Graph, shape: CacheShape): Graph {
  const parents = ops.input(cacheInputs.parents, "i32", [{ name: parentRow, size: shape.rows }]);
  const updates = cacheStates(step, shape).map(({ part, node }): Output => {
    const taken = ops.rename(ops.gather(node, parents, "batch"), parentRow, "batch");
    return { name: presentName(part), node: likeState(taken, node) };
  });
  return makeGraph(`${step.name}.reorder`, updates, [], updatesOf(updates));
}

const parentRow = "parent_row";

/** The state with `now` from place `filled` on. now [..., axis = tokens] -> [..., axis = capacity] */
function inserted({ node, axis }: CacheState, now: Node, tokens: number): Node {
  const places = ops.iota(node.type.axes.find((a) => a.name === axis)!, "i32");
  const offset = ops.sub(places, ops.input(cacheInputs.filled, "i32", []));
  const chunk = "new_token";
  const moved = tokens === 1 ? ops.at(now, axis, 0) : ops.gather(ops.rename(now, axis, chunk), offset, chunk);
  const isNew = tokens === 1 ? ops.eq(offset, 0) : ops.and(ops.ge(offset, 0), ops.lt(offset, tokens));
  return likeState(ops.select(isNew, moved, node), node);
}

/** With the axes in another node's order. */
const likeState = (node: Node, other: Node): Node =>
  ops.transpose(
    node,
    other.type.axes.map((a) => a.name),
  );

/** The scores of each row's last token: [batch, token, vocab] -> [batch, vocab] */
function atLast(logits: Node, tokens: number): Node {
  if (tokens === 1) return ops.at(logits, "token", 0);
  const batch = logits.type.axes.find((a) => a.name === "batch")!;
  return ops.gather(logits, ops.input(cacheInputs.last, "i32", [batch]), "token");
}

/** Every row of a batch as often as makes `rows`. */
function spread(node: Node, rows: number): Node {
  const batch = (node.type.axes as readonly SizedAxis[]).find((a) => a.name === "batch")!.size;
  if (batch === rows) return node;
  if (rows % batch !== 0) throw new UsageError(`${batch} beginnings do not divide ${rows} rows`);
  const owner = ops.idiv(ops.iota({ name: parentRow, size: rows }, "i32"), rows / batch);
  return ops.rename(ops.gather(node, owner, "batch"), parentRow, "batch");
}

const updatesOf = (updates: readonly Output[]): Record<string, string> =>
  Object.fromEntries(updates.map(({ name }) => [name, stateName(name.slice(presentName("").length))]));

const withUpdates = (name: string, scores: Node, updates: readonly Output[], declared: readonly Node[]): Graph =>
  makeGraph(name, [{ name: "logits", node: scores }, ...updates], declared, updatesOf(updates));
