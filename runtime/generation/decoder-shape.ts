/** Properties of a decoder read from its graphs: sizes, cache tensors, vocabulary. */
import {
  bindSizes,
  type Dim,
  type DType,
  type Graph,
  inputName,
  isFeed,
  loneSymbol,
  type Node,
  ops,
  type SizeSymbol,
  type Sizes,
  sourceOf,
  UsageError,
} from "../../compiler/index.ts";

/** Sizes of a cache: the number of texts, and slots for the tokens of each. */
export interface CacheShape {
  readonly rows: number;
  readonly capacity: Dim;
  /** Storage dtype of keys and values; default: the decoder's. */
  readonly dtype?: DType;
}

/** A tensor that a decoder keeps on the device while a text is generated, as state. */
export interface KeptState {
  /** Such as "3.key" or "3.encoder.key". */
  readonly part: string;
  readonly node: Node;
}

/** One cache tensor of a decoder, with slots for all tokens. */
export interface CacheState extends KeptState {
  /** The token axis. */
  readonly axis: string;
}

const pastPattern = /^past_key_values\.(\d+(?:\.decoder)?\.\w+)$/;
const sourcePattern = /^past_key_values\.(\d+\.encoder\.\w+)$/;

const matched = (node: Node, pattern: RegExp): string =>
  sourceOf(node) === "input" ? (pattern.exec(inputName(node))?.[1] ?? "") : "";

/** The cache part that an input holds, such as "3.key" or "3.decoder.key"; "" for any other node. */
export const pastPart = (node: Node): string => matched(node, pastPattern);

/** The part of a source's keys and values that an input holds, such as "3.encoder.key"; "" for any other node. */
export const sourcePart = (node: Node): string => matched(node, sourcePattern);

/** The mask of a source's padding. */
export const sourceMaskName = "encoder_attention_mask";

/** Whether a step is given this input while a text is generated. */
export const isStepInput = (node: Node): boolean =>
  ["input_ids", "position_ids", "attention_mask", sourceMaskName].includes(inputName(node)) ||
  pastPart(node) !== "" ||
  sourcePart(node) !== "";

export const stateName = (part: string): string => `cache.${part}`;
export const presentName = (part: string): string => `present.${part}`;

/** Names of a step's symbolic sizes, read from its inputs. */
interface OpenSizes {
  readonly batch: string;
  readonly tokens: string;
  readonly past: string;
}

/** The step with sizes bound: `tokens` new tokens after `past` slots. */
export function sizedStep(step: Graph, rows: number, past: Dim, tokens: Dim): Graph {
  const open = openSizes(step);
  return bindSizes(step, { [open.batch]: rows, [open.past]: past, [open.tokens]: tokens });
}

/** The cache tensors of a decoder, in the order of its inputs. */
export function cacheStates(step: Graph, { rows, capacity, dtype: kept }: CacheShape): CacheState[] {
  const { past } = openSizes(step);
  const open = step.inputs.filter((n) => pastPart(n) !== "");
  const bound = new Map(sizedStep(step, rows, capacity, 1).inputs.map((n) => [pastPart(n), n]));
  return open.map((node) => {
    const part = pastPart(node);
    const { dtype, axes } = bound.get(part)!.type;
    const axis = node.type.axes.find((a) => loneSymbol(a.size)?.name === past)!.name;
    return { part, node: ops.state(stateName(part), kept ?? dtype, axes), axis };
  });
}

/**
 * The keys and values of a source that a decoder attends to by cross-attention, in the order of its inputs; none for a
 * decoder-only model. The length of the source may be symbolic.
 */
export function sourceStates(step: Graph, { rows, dtype: kept }: CacheShape): KeptState[] {
  const bound = sizedStep(step, rows, 1, 1).inputs.filter((n) => sourcePart(n) !== "");
  return bound.map((node) => {
    const { dtype, axes } = node.type;
    return { part: sourcePart(node), node: ops.state(stateName(sourcePart(node)), kept ?? dtype, axes) };
  });
}

/** Whether a decoder attends to a source by cross-attention. */
export const attendsToSource = (step: Graph): boolean => step.inputs.some((n) => sourcePart(n) !== "");

/** Whether a graph that begins texts only encodes their source: a prefill has `logits` too. */
export const isEncoder = (graph: Graph): boolean => !graph.outputs.some((o) => o.name === "logits");

/** The number of tokens in the cache after a prefill with the given sizes. */
export function tokensLeft(prefill: Graph, step: Graph, sizes: Sizes): number {
  const [{ part, axis }] = cacheStates(step, { rows: 1, capacity: 1 }) as [CacheState];
  const { axes } = outputNamed(bindSizes(prefill, sizes), presentName(part)).type;
  const size = axes.find((a) => a.name === axis)?.size;
  if (typeof size === "number") return size;
  throw new UsageError(
    `"${presentName(part)}" of graph @${prefill.name} has no known number of tokens along axis "${axis}"`,
  );
}

/**
 * The number of tokens in the cache after a prompt of `ids` ids: those of the prefill, including an image's tokens, or
 * of the prompt alone, if the graph is an encoder.
 */
export function tokensBegun(prefill: Graph, step: Graph, ids: number): number {
  if (isEncoder(prefill)) return ids;
  const [batch, tokens] = idSizes(prefill);
  return tokensLeft(prefill, step, { ...(batch && { [batch.name]: 1 }), ...(tokens && { [tokens.name]: ids }) });
}

/** The size of a decoder's vocabulary. */
export function vocabularyOf(step: Graph): number {
  const size = outputNamed(step, "logits").type.axes.find((a) => a.name === "vocab")?.size;
  if (typeof size === "number") return size;
  throw new UsageError(`"logits" of graph @${step.name} has no axis "vocab" with a known size`);
}

/** An output by name; throws UsageError when the graph has none. */
export function outputNamed(graph: Graph, name: string): Node {
  const found = graph.outputs.find((o) => o.name === name);
  if (found) return found.node;
  throw new UsageError(`graph @${graph.name} has no output "${name}", which a decoder needs`);
}

/** The size symbols of `input_ids` [batch, tokens]. */
function idSizes(graph: Graph): readonly (SizeSymbol | undefined)[] {
  const ids = graph.inputs.find((n) => sourceOf(n) === "input" && inputName(n) === "input_ids");
  return ids?.type.axes.map((a) => loneSymbol(a.size)) ?? [];
}

/** The name of the batch symbol of a prefill or an encoder. */
export function batchOf(graph: Graph): string {
  const [batch] = idSizes(graph);
  if (batch) return batch.name;
  const ofImage = graph.inputs.filter(isFeed).flatMap((n) => n.type.axes.filter((a) => a.name === "batch"));
  const [first] = isEncoder(graph) ? ofImage.map((a) => loneSymbol(a.size)) : [];
  if (first) return first.name;
  const needed = isEncoder(graph)
    ? "cannot encode a source: it needs an input with a symbolic axis batch"
    : "cannot be used for prefill: it needs input_ids [batch, tokens] with symbolic sizes";
  throw new UsageError(`graph @${graph.name} ${needed}`);
}

function openSizes(step: Graph): OpenSizes {
  const past = step.inputs.find((n) => pastPart(n) !== "");
  const [batch, tokens] = idSizes(step);
  const open = past?.type.axes.map((a) => loneSymbol(a.size)).find((s) => s && s !== batch);
  if (batch && tokens && open) return { batch: batch.name, tokens: tokens.name, past: open.name };
  throw new UsageError(
    `graph @${step.name} is not a decoder step: it needs input_ids [batch, tokens] and past_key_values.N.key with symbolic sizes`,
  );
}
