/** A decoder on a device with what it remembers: nothing compiles again while its texts grow within the cache. */
import {
  bindSizes,
  type Graph,
  type HostTensor,
  hostTensor,
  inputName,
  type SizedAxis,
  UsageError,
} from "../../compiler/index.ts";
import type { DeviceModel } from "../modes/device-model.ts";
import type { InferenceSession } from "../session.ts";
import {
  cachedBeginning,
  cachedStep,
  cacheInputs,
  cacheReordering,
  cacheStates,
  cacheTokenAxis,
  tokensLeft,
  vocabularyOf,
} from "./cache-graphs.ts";
import { enlarged, openSizes, plainContext, zeros } from "./cache-tensors.ts";
import type { DecodeSession, Scores } from "./decode-session.ts";
import { rowOf } from "./scores.ts";

export interface CacheOptions {
  /** Texts side by side. */
  readonly rows: number;
  /** Places that the cache begins with; it doubles when they are full. 64 unless said. */
  readonly capacity?: number;
  /** The most tokens of a text, where the decoder has a limit. */
  readonly limit?: number;
}

export interface CachedSession extends DecodeSession {
  /** Places that are taken, holes that the rows' different lengths left included. */
  readonly length: number;
  /**
   * Begins all texts with a graph of its own, over the decoder's parameters and with its outputs `logits` and
   * `present.N`: one that also reads images, say. What was remembered is forgotten. `position_ids` and `attention_mask`
   * are made where the graph has them. Gives the scores after the beginning.
   */
  begin(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Promise<Scores>;
  /** Forgets everything. */
  clear(): void;
}

const firstCapacity = 64;

/** Tokens that a step takes at once. A longer text takes several steps, so that memory does not grow with it. */
const chunkSizes = [1, 16, 128] as const;

/** `step` is the decoder's step as `cachedStep` takes it; its parameters are read from the model. */
export function cachedSession(model: DeviceModel, step: Graph, options: CacheOptions): CachedSession {
  return new Cached(model, step, options);
}

class Cached implements CachedSession {
  readonly rows: number;
  readonly vocabulary: number;
  private readonly model: DeviceModel;
  private readonly graph: Graph;
  /** The axis of tokens in what is remembered. */
  private readonly keyAxis: string;
  private readonly limit: number;
  private capacity: number;
  /** 1 for each place of [row, place] that holds a token of the row. */
  private taken: Int32Array;
  private filled = 0;
  /** Tokens that each row has. */
  private counts: number[];
  private isWritten = false;
  /** The graph that texts were begun with. */
  private begun: Graph | undefined;
  /** Compiled steps and reorderings of the capacity at hand, by name. */
  private readonly sessions = new Map<string, InferenceSession>();

  constructor(model: DeviceModel, step: Graph, { rows, capacity = firstCapacity, limit = Infinity }: CacheOptions) {
    if (!(Number.isInteger(rows) && rows >= 1)) throw new UsageError(`a session has at least one row, not ${rows}`);
    this.model = model;
    this.graph = step;
    this.rows = rows;
    this.vocabulary = vocabularyOf(step);
    this.keyAxis = cacheTokenAxis(step);
    this.limit = limit;
    this.capacity = capacity;
    this.taken = new Int32Array(rows * capacity);
    this.counts = Array.from({ length: rows }, () => 0);
  }

  get length(): number {
    return this.filled;
  }

  clear(): void {
    this.filled = 0;
    this.taken.fill(0);
    this.counts.fill(0);
  }

  async begin(graph: Graph, feeds: Readonly<Record<string, HostTensor>>): Promise<Scores> {
    this.clear();
    const sizes = openSizes(graph, feeds);
    const tokens = tokensLeft(graph, this.graph, sizes);
    await this.reserve(tokens);
    const session = await this.beginning(graph, sizes);
    const { logits } = await session.run({ ...plainContext(bindSizes(graph, sizes)), ...feeds });
    for (let row = 0; row < this.rows; row++) this.take(row, tokens);
    this.filled = tokens;
    return logits!.data as Scores;
  }

  /** The beginning compiled for these sizes and the capacity at hand; only the newest graph's are kept. */
  private async beginning(graph: Graph, sizes: Readonly<Record<string, number>>): Promise<InferenceSession> {
    if (this.begun !== graph) this.forget();
    this.begun = graph;
    return await this.compiled(`begin ${JSON.stringify(sizes)}`, () =>
      cachedBeginning(graph, this.graph, { rows: this.rows, capacity: this.capacity }, sizes),
    );
  }

  async step(ids: readonly (readonly number[])[]): Promise<Scores> {
    if (ids.length !== this.rows) throw new UsageError(`${ids.length} rows of tokens for ${this.rows} texts`);
    const longest = Math.max(...ids.map((row) => row.length));
    if (ids.some((row) => row.length === 0)) throw new UsageError("a step takes at least one token of each row");
    await this.reserve(longest);
    const scores = new Float32Array(this.rows * this.vocabulary);
    for (let from = 0; from < longest; ) {
      const size = chunkSizes.find((s) => s >= longest - from) ?? chunkSizes.at(-1)!;
      const chunk = ids.map((row) => row.slice(from, from + size));
      const made = await this.run(chunk, size);
      for (const [row, { length }] of ids.entries())
        if (length > from && length <= from + size)
          scores.set(rowOf(made, row, this.vocabulary), row * this.vocabulary);
      from += size;
    }
    return scores;
  }

  /** One run of at most `size` tokens a row; a row without any gets scores that mean nothing. */
  private async run(chunk: readonly (readonly number[])[], size: number): Promise<Scores> {
    const session = await this.compiled(`step ${size}`, () =>
      cachedStep(this.graph, { rows: this.rows, capacity: this.capacity }, size),
    );
    const { logits } = await session.run(this.feeds(chunk, size));
    for (const [row, { length }] of chunk.entries()) this.take(row, length);
    this.filled += Math.max(...chunk.map((row) => row.length));
    return logits!.data as Scores;
  }

  private feeds(chunk: readonly (readonly number[])[], size: number): Record<string, HostTensor> {
    const ids = new Int32Array(this.rows * size);
    const positions = new Int32Array(this.rows * size);
    const mask = new Int32Array(this.rows * (this.capacity + size));
    for (const [row, tokens] of chunk.entries()) {
      ids.set(tokens, row * size);
      for (let i = 0; i < size; i++) positions[row * size + i] = this.counts[row]! + i;
      const at = row * (this.capacity + size);
      mask.set(this.taken.subarray(row * this.capacity, (row + 1) * this.capacity), at);
      // A row's own tokens come first, so what stands behind them is later than they are and they never see it.
      mask.fill(1, at + this.capacity, at + this.capacity + size);
    }
    const batch = { name: "batch", size: this.rows };
    const token = { name: "token", size };
    const last = chunk.map((tokens) => Math.max(0, tokens.length - 1));
    return {
      input_ids: hostTensor("i32", [batch, token], ids),
      position_ids: hostTensor("i32", [batch, token], positions),
      attention_mask: hostTensor("i32", [batch, { name: this.keyAxis, size: this.capacity + size }], mask),
      [cacheInputs.filled]: hostTensor("i32", [], [this.filled]),
      ...(size > 1 && { [cacheInputs.last]: hostTensor("i32", [batch], last) }),
    };
  }

  /** A row's next places hold its tokens. */
  private take(row: number, tokens: number): void {
    const at = row * this.capacity + this.filled;
    this.taken.fill(1, at, at + tokens);
    this.counts[row]! += tokens;
  }

  async reorder(rows: readonly number[]): Promise<void> {
    const session = await this.compiled("reorder", () =>
      cacheReordering(this.graph, { rows: this.rows, capacity: this.capacity }),
    );
    const parents = hostTensor("i32", [{ name: "parent_row", size: this.rows }], [...rows]);
    await session.run({ [cacheInputs.parents]: parents });
    const taken = rows.map((row) => this.taken.slice(row * this.capacity, (row + 1) * this.capacity));
    for (const [row, places] of taken.entries()) this.taken.set(places, row * this.capacity);
    this.counts = rows.map((row) => this.counts[row]!);
  }

  private async compiled(name: string, graph: () => Graph): Promise<InferenceSession> {
    const known = this.sessions.get(name);
    if (known) return known;
    const session = await this.model.session(graph());
    this.sessions.set(name, session);
    return session;
  }

  /** Makes room for more tokens: the cache begins with zeros, and is read and written back larger when it is full. */
  private async reserve(tokens: number): Promise<void> {
    const needed = this.filled + tokens;
    if (needed > this.limit)
      throw new UsageError(`the text would have ${needed} tokens; the model takes ${this.limit}`);
    if (this.isWritten && needed <= this.capacity) return;
    while (this.capacity < needed) this.capacity *= 2;
    const { store } = this.model;
    for (const state of cacheStates(this.graph, { rows: this.rows, capacity: this.capacity })) {
      const { dtype, axes } = state.type;
      const name = inputName(state);
      const empty = () => zeros(dtype, axes as readonly SizedAxis[]);
      const grown = async () => enlarged(await store.read(name), this.keyAxis, this.capacity);
      await store.write(name, this.filled > 0 ? await grown() : empty());
    }
    const places = (size: number) => [
      { name: "row", size: this.rows },
      { name: "place", size },
    ];
    const taken = hostTensor("i32", places(this.taken.length / this.rows), this.taken);
    this.taken = enlarged(taken, "place", this.capacity).data as Int32Array<ArrayBuffer>;
    this.isWritten = true;
    this.forget();
  }

  /** Drops what was compiled for another capacity. */
  private forget(): void {
    for (const session of this.sessions.values()) session.dispose();
    this.sessions.clear();
  }

  dispose(): void {
    this.forget();
  }
}
