/**
 * Decoder graphs over a cache of fixed capacity. A decoder that takes what is remembered and gives it back longer (inputs
 * `past_key_values.N.key`, outputs `present.N.key`, as ONNX decoders have them) would be compiled anew for every token.
 * Here the past is state of `capacity` places that stays on the device; a run writes its tokens' keys and values into the
 * next free places. What is free, or no token of a row, the `attention_mask` hides.
 */
import {
  bindSizes,
  type Graph,
  inputName,
  makeGraph,
  type Node,
  type Output,
  ops,
  rewriteNodes,
  type SizedAxis,
  UsageError,
} from "../../compiler/index.ts";

/** Sizes of a cache: texts side by side, and places for the tokens of each. */
export interface CacheShape {
  readonly rows: number;
  readonly capacity: number;
}

/** The inputs that this file adds; the others are the decoder's own. */
export const cacheInputs = {
  /** i32: places that are taken, where the run's tokens go on. */
  filled: "filled",
  /** i32 [batch]: each row's last token among the run's; absent when there is one. */
  last: "last",
  /** i32 [parent_row]: the row that each row goes on from. */
  parents: "parents",
} as const;

const pastPattern = /^past_key_values\.(\d+\.\w+)$/;
const stateName = (part: string): string => `cache.${part}`;
const presentName = (part: string): string => `present.${part}`;

/** One tensor of what a decoder remembers, such as "3.key": its input, and the axis of tokens. */
interface Past {
  readonly part: string;
  readonly node: Node;
  /** The axis of remembered tokens: the one whose size only the past has. */
  readonly axis: string;
}

/** Names of the sizes that a decoder's step leaves open, read off its inputs. */
interface OpenSizes {
  readonly batch: string;
  readonly tokens: string;
  readonly past: string;
}

/**
 * The step of a decoder, `tokens` tokens at a time. Its inputs stay (`input_ids`, `position_ids` [batch, token],
 * `attention_mask` [batch, key = capacity + tokens]), `filled` and `last` come in; `logits` become those of each row's
 * last token, [batch, vocab]. Rows may have fewer than `tokens` tokens: what is behind them is written to the cache and
 * overwritten later. Throws UsageError for a graph that is no decoder's step.
 */
export function cachedStep(step: Graph, { rows, capacity }: CacheShape, tokens: number): Graph {
  const open = openSizes(step);
  const graph = bindSizes(step, { [open.batch]: rows, [open.past]: capacity, [open.tokens]: tokens });
  const states = new Map(pasts(step, open).map((p) => [p.part, { ...p, node: stateOf(p, graph) }]));
  const results = rewriteNodes(
    graph.outputs.map((o) => o.node),
    (node) => (node.op === "input" ? (states.get(partOf(node))?.node ?? node) : node),
  );
  const output = (name: string) => results.get(outputNamed(graph, name))!;
  const updates = [...states.values()].map(({ part, node, axis }): Output => {
    const now = ops.slice(output(presentName(part)), axis, capacity, tokens);
    return { name: presentName(part), node: inserted(node, now, axis, tokens) };
  });
  const scores = atLast(output("logits"), tokens);
  return withUpdates(`${step.name}.step${tokens}`, scores, updates, []);
}

/**
 * The beginning of a text by a graph of its own (one that also reads an image, say): its `present` outputs become the
 * first places of the cache. Its batch divides `rows`; row i of the cache is of batch i · batch / rows. Sizes that the
 * graph leaves open are given.
 */
export function cachedBeginning(
  beginning: Graph,
  step: Graph,
  { rows, capacity }: CacheShape,
  sizes: Readonly<Record<string, number>>,
): Graph {
  const open = openSizes(step);
  const bound = bindSizes(beginning, sizes);
  const states = pasts(step, open).map((p) => ({
    ...p,
    node: stateOf(p, bindSizes(step, { [open.batch]: rows, [open.past]: capacity, [open.tokens]: 1 })),
  }));
  const tokens = presentTokens(bound, states[0]!);
  if (tokens > capacity) throw new UsageError(`${tokens} tokens do not fit a cache of ${capacity}`);
  const updates = states.map(({ part, node, axis }): Output => {
    const present = ops.pad(outputNamed(bound, presentName(part)), axis, 0, capacity - tokens, 0);
    return { name: presentName(part), node: likeState(spread(present, rows), node) };
  });
  const scores = spread(atLast(outputNamed(bound, "logits"), 1), rows);
  return withUpdates(
    beginning.name,
    scores,
    updates,
    states.map((s) => s.node),
  );
}

/** How many tokens a beginning leaves, for the sizes given. */
export function tokensLeft(beginning: Graph, step: Graph, sizes: Readonly<Record<string, number>>): number {
  return presentTokens(bindSizes(beginning, sizes), pasts(step, openSizes(step))[0]!);
}

function presentTokens(bound: Graph, { part, axis }: Past): number {
  const { axes } = outputNamed(bound, presentName(part)).type;
  const size = axes.find((a) => a.name === axis)?.size;
  if (typeof size === "number") return size;
  throw new UsageError(`"${presentName(part)}" of graph @${bound.name} has no number of tokens along "${axis}"`);
}

/** Every row takes over another's cache: input `parents` i32 [parent_row]. */
export function cacheReordering(step: Graph, shape: CacheShape): Graph {
  const parents = ops.input(cacheInputs.parents, "i32", [{ name: parentRow, size: shape.rows }]);
  const updates = cacheStates(step, shape).map((state): Output => {
    const taken = ops.rename(ops.gather(state, parents, "batch"), parentRow, "batch");
    return { name: presentName(inputName(state).slice(stateName("").length)), node: likeState(taken, state) };
  });
  return makeGraph(`${step.name}.reorder`, updates, [], updatesOf(updates));
}

const parentRow = "parent_row";

/** The states of a cache, in the decoder's order. */
export function cacheStates(step: Graph, { rows, capacity }: CacheShape): Node[] {
  const open = openSizes(step);
  const graph = bindSizes(step, { [open.batch]: rows, [open.past]: capacity, [open.tokens]: 1 });
  return pasts(step, open).map((p) => stateOf(p, graph));
}

/** The name of the axis of tokens in the states of a cache. */
export const cacheTokenAxis = (step: Graph): string => pasts(step, openSizes(step))[0]!.axis;

/** The size of a decoder's vocabulary. */
export function vocabularyOf(step: Graph): number {
  const size = outputNamed(step, "logits").type.axes.find((a) => a.name === "vocab")?.size;
  if (typeof size === "number") return size;
  throw new UsageError(`"logits" of graph @${step.name} has no axis "vocab" of a known size`);
}

const partOf = (node: Node): string => pastPattern.exec(inputName(node))?.[1] ?? "";

function pasts(step: Graph, { past }: OpenSizes): Past[] {
  return step.inputs
    .filter((n) => n.op === "input" && partOf(n) !== "")
    .map((node) => ({ part: partOf(node), node, axis: node.type.axes.find((a) => a.size === past)!.name }));
}

function openSizes(step: Graph): OpenSizes {
  const ids = step.inputs.find((n) => n.op === "input" && inputName(n) === "input_ids");
  const past = step.inputs.find((n) => n.op === "input" && partOf(n) !== "");
  const [batch, tokens] = ids?.type.axes.map((a) => a.size) ?? [];
  const open = past?.type.axes.map((a) => a.size).find((size) => typeof size === "string" && size !== batch);
  if (typeof batch === "string" && typeof tokens === "string" && typeof open === "string")
    return { batch, tokens, past: open };
  throw new UsageError(
    `graph @${step.name} is no step of a decoder: it needs input_ids [batch, tokens] and past_key_values.N.key with open sizes`,
  );
}

function stateOf({ part, node }: Past, bound: Graph): Node {
  const { dtype, axes } = bound.inputs.find((n) => n.op === "input" && inputName(n) === inputName(node))!.type;
  return ops.state(stateName(part), dtype, axes);
}

function outputNamed(graph: Graph, name: string): Node {
  const found = graph.outputs.find((o) => o.name === name);
  if (found) return found.node;
  throw new UsageError(`graph @${graph.name} has no output "${name}", which a decoder has`);
}

/** The state with `now` from place `filled` on. now [..., axis = tokens], state [..., axis = capacity] */
function inserted(state: Node, now: Node, axis: string, tokens: number): Node {
  const places = ops.iota(state.type.axes.find((a) => a.name === axis)!, "i32");
  const offset = ops.sub(places, ops.input(cacheInputs.filled, "i32", []));
  const chunk = "new_token";
  const moved = tokens === 1 ? ops.at(now, axis, 0) : ops.gather(ops.rename(now, axis, chunk), offset, chunk);
  const isNew = tokens === 1 ? ops.eq(offset, 0) : ops.and(ops.ge(offset, 0), ops.lt(offset, tokens));
  return likeState(ops.select(isNew, moved, state), state);
}

/** With the axes in the state's order. */
const likeState = (node: Node, state: Node): Node =>
  ops.transpose(
    node,
    state.type.axes.map((a) => a.name),
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
