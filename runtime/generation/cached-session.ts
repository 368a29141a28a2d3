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
  symbol,
  UsageError,
} from "../../compiler/index.ts";
import type { DeviceModel } from "../modes/device-model.ts";
import type { InferenceSession } from "../session.ts";
import { cachedPrefill, cachedStep, cacheInputs, cacheReordering } from "./cache-graphs.ts";
import { type CachePlaces, cachePlaces } from "./cache-places.ts";
import { enlarged, openSizes, plainContext, zeros } from "./cache-tensors.ts";
import { candidateOutputs } from "./candidate-graphs.ts";
import type { Candidates, DecodeSession, Scores } from "./decode-session.ts";
import { batchOf, type CacheShape, cacheStates, isStepInput, tokensLeft, vocabularyOf } from "./decoder-shape.ts";
import { rowOf } from "./scores.ts";

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
  /**
   * Starts all texts with a separate graph over the decoder's parameters, with outputs `logits` and `present.N`: one
   * that also reads images, say. The cache is cleared first. `position_ids` and `attention_mask` are supplied when the
   * graph has them. Returns the scores after the prefill.
   */
  begin(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Promise<Scores>;
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
  private readonly limit: number;
  private readonly places: CachePlaces;
  private isWritten = false;
  /** The graph of the last `begin`. */
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
        `graph @${step.name} cannot generate text: nothing provides its inputs ${strange.join(", ")}; a step may read only input_ids, position_ids, attention_mask and past_key_values.N.key and .value\n  hint: other context, such as an image, goes into the cache, in a graph named by \`begin\` of the mode`,
      );
    if (!(Number.isInteger(rows) && rows >= 1)) throw new UsageError(`a session needs at least one row, got ${rows}`);
    this.model = model;
    this.graph = step;
    this.rows = rows;
    this.vocabulary = vocabularyOf(step);
    this.limit = limit;
    this.places = cachePlaces(rows, capacity);
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
    const batch = sizes[batchOf(graph)]!;
    const name = `begin ${batch}`;
    if (this.begun !== graph) this.forget((known) => known.startsWith("begin"));
    this.begun = graph;
    const { session } = await this.compiled(name, () => cachedPrefill(graph, this.graph, this.shape, batch));
    await this.compiledStep(); // so that no compilation interrupts the text
    const { logits } = await session.run({ ...plainContext(bindSizes(graph, sizes)), ...feeds });
    this.places.take(Array.from({ length: this.rows }, () => tokens));
    return logits!.data as Scores;
  }

  async step(ids: readonly (readonly number[])[]): Promise<Scores> {
    if (ids.length !== this.rows) throw new UsageError(`expected tokens for ${this.rows} rows, got ${ids.length}`);
    const longest = Math.max(...ids.map((row) => row.length));
    if (ids.some((row) => row.length === 0)) throw new UsageError("a step needs at least one token for each row");
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
      [cacheInputs.filled]: hostTensor("i32", [], [this.places.filled]),
      [cacheInputs.last]: hostTensor("i32", [batch], last),
    };
  }

  async rank(tokens: readonly number[], count: number, parents?: readonly number[]): Promise<Candidates> {
    if (tokens.length !== this.rows)
      throw new UsageError(`expected ${this.rows} tokens, one per row, got ${tokens.length}`);
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
    const { graph, session } = await this.compiled("reorder", () => cacheReordering(this.graph, this.shape));
    await session.run({ [cacheInputs.parents]: this.parents(graph, rows) });
    this.places.reorder(rows);
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
