/**
 * A decoder with its KV cache on a device: one compiled graph serves steps of every length and caches of every size.
 */
import {
  bindSizes,
  type Dim,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  isFeed,
  type SizedAxis,
  type Sizes,
  symbol,
  UsageError,
} from "../../compiler/index.ts";
import type { DeviceModel } from "../modes/device-model.ts";
import type { InferenceSession } from "../session.ts";
import {
  cachedPrefill,
  cachedStep,
  cacheInputs,
  cacheReordering,
  encodedSources,
  sourceUpdates,
} from "./cache-graphs.ts";
import { type CachePlaces, cachePlaces } from "./cache-places.ts";
import { enlarged, openSizes, plainContext, zeros } from "./cache-tensors.ts";
import { candidateOutputs } from "./candidate-graphs.ts";
import type { Candidates, DecodeSession, Scores } from "./decode-session.ts";
import {
  attendsToSource,
  batchOf,
  type CacheShape,
  cacheStates,
  isStepInput,
  type KeptState,
  sourceMaskName,
  sourceStates,
  tokensLeft,
  vocabularyOf,
} from "./decoder-shape.ts";
import { rowOf } from "./scores.ts";
import { type SourcePlaces, sourcePlaces } from "./source-places.ts";

export interface CacheOptions {
  /** Batch size, in texts. */
  readonly rows: number;
  /** Initial slots of the cache; it doubles when they are full. Default 64. */
  readonly capacity?: number;
  /** Maximum tokens of a text, if the decoder has a limit. */
  readonly limit?: number;
}

export interface CachedSession extends Required<DecodeSession> {
  /** Occupied slots, including holes left by rows of different lengths. */
  readonly length: number;
  /** The most tokens of a text; infinite where none was given. */
  readonly limit: number;
  /**
   * Starts all texts with a separate graph over the decoder's parameters, with outputs `logits` and `present.N`: one
   * that also reads images, say. The cache is cleared first. `position_ids` and `attention_mask` are supplied when the
   * graph has them. Returns the scores after the prefill.
   */
  begin(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Promise<Scores>;
  /**
   * Encodes the sources that the texts attend to by cross-attention: runs an encoder graph over the decoder's
   * parameters, whose outputs are `present.N.encoder.key` and `.value`, and keeps these on the device. The cache is
   * cleared first; sources stay until the next. The encoder's `attention_mask`, of ones unless it is given, marks their
   * padding for the decoder too.
   */
  encode(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Promise<void>;
  /** Clears the cache. */
  clear(): void;
}

const firstCapacity = 64;

/** Maximum tokens per row in a run. A longer text takes several runs, so that memory does not grow with it. */
const mostTokens = 128;

/** Numbers of tokens to compile for when sizes must be static: shorter inputs are padded. */
const fixedTokens = [1, 16, mostTokens] as const;

/** Slots of the cache, and tokens of a run: symbolic until a run. */
const capacitySize = symbol("capacity");
const tokensSize = symbol("tokens", { max: mostTokens });

/** `step` is the decoder's step, as for `cachedStep`; its parameters are read from the model. */
export function cachedSession(model: DeviceModel, step: Graph, options: CacheOptions): CachedSession {
  return new Cached(model, step, options);
}

class Cached implements CachedSession {
  readonly rows: number;
  readonly vocabulary: number;
  private readonly model: DeviceModel;
  private readonly graph: Graph;
  readonly limit: number;
  private readonly places: CachePlaces;
  private readonly sources: SourcePlaces;
  private isWritten = false;
  /** The graph of the last `begin` or `encode`. */
  private begun: Graph | undefined;
  /** Compiled graphs by name. */
  private readonly runs = new Map<string, Compiled>();

  constructor(model: DeviceModel, step: Graph, { rows, capacity = firstCapacity, limit = Infinity }: CacheOptions) {
    if (!step.inputs.some((n) => inputName(n) === "attention_mask"))
      throw new UsageError(
        `graph @${step.name} is not a decoder step: it does not read attention_mask [batch, key_token], which marks the valid cache positions\n  hint: pass the mask to attention, as context.visible of decoderInputs`,
      );
    const strange = step.inputs.filter((n) => isFeed(n) && !isStepInput(n)).map((n) => `"${inputName(n)}"`);
    if (strange.length > 0)
      throw new UsageError(
        `graph @${step.name} cannot generate text: nothing provides its inputs ${strange.join(", ")}; a step may read only input_ids, position_ids, attention_mask, past_key_values.N.key and .value, and, of an encoder, encoder_attention_mask and past_key_values.N.encoder.key and .value\n  hint: other context, such as an image, goes into the cache, in a graph named by \`begin\` or \`encode\` of the mode`,
      );
    if (!(Number.isInteger(rows) && rows >= 1)) throw new UsageError(`a session needs at least one row, got ${rows}`);
    this.model = model;
    this.graph = step;
    this.rows = rows;
    this.vocabulary = vocabularyOf(step);
    this.limit = limit;
    this.places = cachePlaces(rows, capacity);
    this.sources = sourcePlaces(rows);
  }

  get length(): number {
    return this.places.filled;
  }

  private get shape(): CacheShape {
    return this.shapeOf(capacitySize);
  }

  /** Keys and values are stored in the dtype in which attention reads them: f16 halves the bytes read per token. */
  private shapeOf(capacity: Dim): CacheShape {
    return { rows: this.rows, capacity, ...(this.model.computes === "f16" && { dtype: "f16" }) };
  }

  clear(): void {
    this.places.clear();
  }

  async begin(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Promise<Scores> {
    this.clear();
    const sizes = openSizes(graph, feeds);
    const tokens = tokensLeft(graph, this.graph, sizes);
    await this.reserve(tokens);
    await this.reserveSources(graph, sizes, feeds[sourceMaskName]);
    const { logits } = await this.runFirst(graph, feeds, sizes, cachedPrefill);
    this.places.take(Array.from({ length: this.rows }, () => tokens));
    return logits!.data as Scores;
  }

  async encode(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Promise<void> {
    if (!attendsToSource(this.graph))
      throw new UsageError(
        `graph @${this.graph.name} takes no source: it has no inputs past_key_values.N.encoder.key and .value`,
      );
    this.clear();
    const sizes = openSizes(graph, feeds);
    await this.reserveSources(graph, sizes, feeds[sourceMaskName] ?? feeds.attention_mask);
    await this.runFirst(graph, feeds, sizes, encodedSources);
  }

  /** Runs a graph that begins texts, compiled unless it is that of the last time. */
  private async runFirst(
    graph: Graph,
    feeds: Readonly<Record<string, HostTensor>>,
    sizes: Sizes,
    over: typeof cachedPrefill,
  ): Promise<Record<string, HostTensor>> {
    const batch = sizes[batchOf(graph)]!;
    if (this.begun !== graph) this.forget((known) => known.startsWith("begin"));
    this.begun = graph;
    const { session } = await this.compiled(`begin ${batch}`, () => over(graph, this.graph, this.shape, batch));
    await this.compiledStep(); // so that no compilation interrupts the text
    const { [sourceMaskName]: _, ...own } = feeds; // a step's input
    return await session.run({ ...plainContext(bindSizes(graph, sizes)), ...own });
  }

  /** Makes room for the keys and values of sources, and notes their padding. */
  private async reserveSources(graph: Graph, sizes: Sizes, mask: HostTensor | undefined): Promise<void> {
    if (!attendsToSource(this.graph)) return;
    const updates = sourceUpdates(bindSizes(graph, sizes), this.graph, this.shape);
    const axes = updates.map(({ state }) => state.type.axes as readonly SizedAxis[]);
    const along = this.sourceMask?.type.axes.at(-1)?.name;
    const length = along === undefined ? 0 : axes[0]!.find(({ name }) => name === along)!.size;
    this.sources.encoded(sizes[batchOf(graph)]!, length, along === undefined ? undefined : mask);
    for (const [i, { state }] of updates.entries())
      await this.model.store.write(inputName(state), zeros(state.type.dtype, axes[i]!));
  }

  /** The step's input that marks the padding of sources, if it has one. */
  private get sourceMask() {
    return this.graph.inputs.find((n) => inputName(n) === sourceMaskName);
  }

  async step(ids: readonly (readonly number[])[]): Promise<Scores> {
    if (ids.length !== this.rows) throw new UsageError(`expected tokens for ${this.rows} rows, got ${ids.length}`);
    const longest = Math.max(...ids.map((row) => row.length));
    if (ids.some((row) => row.length === 0)) throw new UsageError("a step needs at least one token for each row");
    this.requireSources();
    await this.reserve(longest);
    const scores = new Float32Array(this.rows * this.vocabulary);
    for (let from = 0; from < longest; ) {
      const size = this.runLength(longest - from);
      const made = await this.take(
        ids.map((row) => row.slice(from, from + size)),
        size,
      );
      for (const [row, { length }] of ids.entries())
        if (length > from && length <= from + size)
          scores.set(rowOf(made, row, this.vocabulary), row * this.vocabulary);
      from += size;
    }
    return scores;
  }

  /** Tokens of the next run, when `left` remain. */
  private runLength(left: number): number {
    if (!this.model.fixed) return Math.min(left, mostTokens);
    return fixedTokens.find((s) => s >= left) ?? mostTokens;
  }

  /** One run of at most `size` tokens per row; the scores of a row without any are meaningless. */
  private async take(chunk: readonly (readonly number[])[], size: number): Promise<Scores> {
    const { graph, session } = await this.compiledStep();
    const { logits } = await session.run(this.feeds(graph, chunk, size));
    this.places.take(chunk.map((row) => row.length));
    return logits!.data as Scores;
  }

  private feeds(graph: Graph, chunk: readonly (readonly number[])[], size: number): Record<string, HostTensor> {
    const ids = new Int32Array(this.rows * size);
    for (const [row, tokens] of chunk.entries()) ids.set(tokens, row * size);
    const batch = { name: "batch", size: this.rows };
    const lengths = chunk.map((row) => row.length);
    const last = lengths.map((length) => Math.max(0, length - 1));
    const key = graph.inputs.find((n) => inputName(n) === "attention_mask")!.type.axes.at(-1)!;
    const readsPositions = graph.inputs.some((n) => inputName(n) === "position_ids"); // not every decoder does
    return {
      input_ids: hostTensor("i32", [batch, { name: "token", size }], ids),
      ...(readsPositions && { position_ids: this.places.positions(size) }),
      attention_mask: this.places.mask(lengths, key.name),
      ...(this.sourceMask && { [sourceMaskName]: this.sources.mask(this.sourceMask.type.axes) }),
      [cacheInputs.filled]: hostTensor("i32", [], [this.places.filled]),
      [cacheInputs.last]: hostTensor("i32", [batch], last),
    };
  }

  async rank(tokens: readonly number[], count: number, parents?: readonly number[]): Promise<Candidates> {
    if (tokens.length !== this.rows)
      throw new UsageError(`expected ${this.rows} tokens, one per row, got ${tokens.length}`);
    this.requireSources();
    if (parents && this.sources.changes(parents)) {
      await this.reorder(parents);
      return await this.rank(tokens, count);
    }
    await this.reserve(1);
    const how = { rank: count, reorders: parents !== undefined };
    const name = `rank ${count}${parents ? " reordered" : ""}`;
    const { graph, session } = await this.compiled(name, () => cachedStep(this.graph, this.shape, 1, how));
    if (parents) this.places.reorder(parents);
    const chunk = tokens.map((token) => [token]);
    const feeds = this.feeds(graph, chunk, 1);
    if (parents) feeds[cacheInputs.parents] = this.parents(graph, parents);
    const { tokens: ids, scores, total } = candidateOutputs;
    const made = await session.run(feeds);
    this.places.take(chunk.map((row) => row.length));
    return { count, tokens: made[ids]!.data, scores: made[scores]!.data, totals: made[total]!.data };
  }

  private parents(graph: Graph, rows: readonly number[]): HostTensor {
    const [axis] = graph.inputs.find((n) => inputName(n) === cacheInputs.parents)!.type.axes as readonly SizedAxis[];
    return hostTensor("i32", [axis!], [...rows]);
  }

  async reorder(rows: readonly number[]): Promise<void> {
    await this.reorderStates("reorder", rows, cacheStates(this.graph, this.shape));
    this.places.reorder(rows);
    if (!this.sources.changes(rows)) return; // as always among the beams of a text
    await this.reorderStates("reorder sources", rows, sourceStates(this.graph, this.shape));
    this.sources.reorder(rows);
  }

  private async reorderStates(name: string, rows: readonly number[], states: readonly KeptState[]): Promise<void> {
    const { graph, session } = await this.compiled(name, () => cacheReordering(this.graph.name, states, this.rows));
    await session.run({ [cacheInputs.parents]: this.parents(graph, rows) });
  }

  /** Throws UsageError if the decoder attends to a source and none has been encoded. */
  private requireSources(): void {
    if (this.sources.areKnown || !attendsToSource(this.graph)) return;
    throw new UsageError(`graph @${this.graph.name} attends to a source: encode one first`);
  }

  private compiledStep(): Promise<Compiled> {
    return this.compiled("step", () => cachedStep(this.graph, this.shape, tokensSize));
  }

  private async compiled(name: string, build: () => Graph): Promise<Compiled> {
    const known = this.runs.get(name);
    if (known) return known;
    const graph = build();
    const made = { graph, session: await this.model.session(graph) };
    this.runs.set(name, made);
    return made;
  }

  /**
   * Makes room for more tokens: the cache is initialized with zeros; a full one is read back, enlarged and written
   * again.
   */
  private async reserve(tokens: number): Promise<void> {
    const needed = this.places.filled + tokens;
    if (needed > this.limit)
      throw new UsageError(`the text would have ${needed} tokens, but the model's context is limited to ${this.limit}`);
    let { capacity } = this.places;
    if (this.isWritten && needed <= capacity) return;
    while (capacity < needed) capacity *= 2;
    const { store } = this.model;
    for (const { node, axis } of cacheStates(this.graph, this.shapeOf(capacity))) {
      const { dtype, axes } = node.type;
      const name = inputName(node);
      const kept = this.places.filled > 0 ? enlarged(await store.read(name), axis, capacity) : undefined;
      await store.write(name, kept ?? zeros(dtype, axes as readonly SizedAxis[]));
    }
    this.places.grow(capacity);
    this.isWritten = true;
  }

  /** Disposes of some compiled graphs. */
  private forget(some: (name: string) => boolean): void {
    for (const [name, { session }] of [...this.runs]) {
      if (!some(name)) continue;
      session.dispose();
      this.runs.delete(name);
    }
  }

  dispose(): void {
    this.forget(() => true);
  }
}

interface Compiled {
  readonly graph: Graph;
  readonly session: InferenceSession;
}
