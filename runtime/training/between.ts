/**
 * The exchanges of ranks between the graphs of a step: features are gathered (all-gather), gradients summed
 * (all-reduce, or reduce-scatter when sharded).
 */
import type { Store } from "../../backends/backend.ts";
import {
  elementsOf,
  type Graph,
  type HostTensor,
  hostTensor,
  type TensorType,
  topological,
} from "../../compiler/index.ts";
import { beside, type Collectives, type Numbers, type Range, rangesOf } from "../collectives/index.ts";
import type { DividedState } from "../sharding/part-runs.ts";
import type { CompiledStep } from "./job.ts";
import { putRows, takeRows } from "./rows.ts";
import type { Between, SharedAverages } from "./runs.ts";
import type { Share } from "./share.ts";

/** Tensors with fewer elements are reduced together in one message, to save latency. */
const small = 4096;

export function betweenRanks(
  step: CompiledStep,
  share: Share,
  collectives: Collectives,
  divided?: DividedState,
): Between {
  const { gathered, addedByRows = [], shard } = step.accumulation!.shared!;
  const sums = new GradientSums(step, collectives, divided);
  return {
    share,
    early: [...sums.early.keys()],
    addEarly: (output, sum, store) => sums.addEarly(output, sum, store),
    besideSeconds: () => sums.besideSeconds(),
    addUp: (store) => sums.addUp(store),
    ...(shard?.sums && { addTerms: (store: Store) => reduceTogether(store, [shard.sums!.name], collectives) }),
    ...(shard?.averages && { averages: sharedAverages(step, shard.averages, collectives, divided) }),
    ...(shard && {
      spread: async (store: Store) => {
        if (divided?.weights) return await divided.weights.refresh(store);
        for (const { parameters } of step.arenas) await gatherArena(store, parameters, collectives);
      },
    }),
    gather: async (store) => {
      for (const { state, axis } of gathered) await gatherRows(store, { state, axis, share }, collectives);
    },
    ...(addedByRows.length > 0 && {
      addRows: async (store: Store) => {
        await divided?.gradients.settled();
        for (const { state, axis } of addedByRows) await reduceOwnRows(store, { state, axis, share }, collectives);
      },
    }),
  };
}

/** The sums of a step that are added up over the ranks: gradients, and what else a step counts. */
class GradientSums {
  /** Sums by the output of the last micro-batch that has them first. */
  readonly early: ReadonlyMap<string, string>;
  readonly #collectives: Collectives;
  readonly #divided: DividedState | undefined;
  /** Where the norm of the sharded gradients is stored. */
  readonly #norm: string | undefined;
  readonly #few: readonly string[];
  readonly #many: readonly string[];
  /** Sums of which this rank keeps a range only, and where. */
  readonly #inParts: ReadonlyMap<string, { readonly part: string; readonly range: Range }>;
  readonly #exchanges = beside();
  readonly #taken = new Set<string>();
  #writing: Promise<void>[] = [];
  #squares = 0;

  constructor({ graph, accumulation, arenas }: CompiledStep, collectives: Collectives, divided?: DividedState) {
    const { sums, shared } = accumulation!;
    const { added, shard } = shared!;
    const typeOf = new Map(sums.map(({ name, type }) => [name, type]));
    this.#inParts = new Map(
      shard?.gradients.flatMap(({ sum, part }, i) => (sum ? [[sum, { part, range: shard.ranges[i]! }]] : [])),
    );
    const isFew = (name: string) => isSmall(typeOf.get(name)!) && !this.#inParts.has(name);
    this.#few = added.filter(isFew);
    this.#many = added.filter((name) => !isFew(name));
    this.early = divided ? new Map<string, string>() : earlySums(graph, sums.slice(0, arenas.length));
    this.#collectives = collectives;
    this.#divided = divided;
    this.#norm = shard?.norm;
  }

  besideSeconds(): number {
    return this.#exchanges.seconds() + (this.#divided?.gradients.besideSeconds() ?? 0);
  }

  addEarly(output: string, sum: Promise<HostTensor>, store: Store): void {
    const name = this.early.get(output)!;
    this.#taken.add(name);
    this.#exchanges.add(sum, (tensor) => this.#reduce(name, tensor, store));
  }

  async addUp(store: Store): Promise<void> {
    await this.#exchanges.settled();
    this.#squares += (await this.#divided?.gradients.store(store)) ?? 0;
    const isLeft = (name: string) => !this.#taken.has(name);
    await reduceTogether(store, this.#few.filter(isLeft), this.#collectives);
    await this.#reduceEach(store, this.#many.filter(isLeft));
    this.#taken.clear();
    const own = this.#squares;
    this.#squares = 0;
    if (this.#norm === undefined) return;
    const norm = Math.sqrt(await sumOver(this.#collectives, own));
    await store.write(this.#norm, hostTensor("f32", [], [norm]));
  }

  /** While one tensor is reduced, the next is read from the device and the previous one written to it. */
  async #reduceEach(store: Store, names: readonly string[]): Promise<void> {
    let reading = names.length > 0 ? store.read(names[0]!) : undefined;
    for (const [i, name] of names.entries()) {
      const tensor = inF32(await reading!);
      reading = i + 1 < names.length ? store.read(names[i + 1]!) : undefined;
      const before = this.#writing;
      this.#writing = [];
      await this.#reduce(name, tensor, store);
      await Promise.all(before);
    }
    await Promise.all(this.#writing);
    this.#writing = [];
  }

  /** Reduces a tensor that was read from the store; the result is written back in the background. */
  async #reduce(name: string, tensor: HostTensor, store: Store): Promise<void> {
    const data = tensor.data as Float32Array;
    const own = this.#inParts.get(name);
    if (!own) {
      await this.#collectives.allReduce(data);
      this.#writing.push(store.write(name, tensor));
      return;
    }
    await this.#collectives.reduceScatter(data, rangesOf(data.length, this.#collectives.size));
    const { from, to } = own.range;
    if (to === from) return;
    const part = data.slice(from, to);
    this.#squares += sumOfSquares(part);
    this.#writing.push(store.write(own.part, hostTensor("f32", [{ name: "arena", size: part.length }], part)));
  }
}

/** Whether a tensor is reduced with others in one message. */
const isSmall = ({ axes }: TensorType): boolean =>
  axes.length < 2 && axes.every(({ size }) => typeof size === "number" && size <= small);

/** All-gather of an arena, of which each rank has updated its own range. */
async function gatherArena(store: Store, name: string, { allGather, size }: Collectives): Promise<void> {
  const tensor = inF32(await store.read(name));
  await allGather(tensor.data as Float32Array, rangesOf(tensor.data.length, size));
  await store.write(name, tensor);
}

/** The average of a run: in shards among those of the weights while it is shown, else gathered into rank 0's store. */
function sharedAverages(
  { arenas }: CompiledStep,
  parts: readonly string[],
  collectives: Collectives,
  divided: DividedState | undefined,
): SharedAverages {
  const weights = divided?.weights;
  if (weights) return { show: (store) => weights.refresh(store, parts), hide: (store) => weights.refresh(store) };
  const show = async (store: Store) => {
    for (const [i, { layout, average }] of arenas.entries()) {
      const ranges = rangesOf(layout.size, collectives.size);
      const { from, to } = ranges[collectives.rank]!;
      const whole = new Float32Array(layout.size);
      if (to > from) whole.set(inF32(await store.read(parts[i]!)).data as Float32Array, from);
      await collectives.allGather(whole, ranges);
      if (collectives.rank === 0)
        await store.write(average!, hostTensor("f32", [{ name: "arena", size: whole.length }], whole));
    }
  };
  return { show, hide: async () => {} };
}

/** Maximum bytes of sums in host memory at once, waiting for their exchange. */
const mostEarly = 2 ** 31;

/**
 * The gradient sums that are exchanged while the last micro-batch still computes others, keyed by output: first those
 * that depend on the fewest nodes, since a backward pass computes them first.
 */
function earlySums({ outputs, updates }: Graph, sums: readonly { readonly name: string; readonly type: TensorType }[]) {
  const bytes = new Map(sums.map(({ name, type }) => [name, 4 * (elementsOf(type) as number)]));
  const given = outputs.filter(({ name }) => bytes.has(updates[name]!));
  const needs = new Map(given.map(({ name, node }) => [name, topological([node]).length]));
  let left = mostEarly;
  return new Map(
    given
      .toSorted((a, b) => needs.get(a.name)! - needs.get(b.name)!)
      .map(({ name }): [string, string] => [name, updates[name]!])
      .filter(([, sum]) => (left -= bytes.get(sum)!) >= 0),
  );
}

function sumOfSquares(data: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < data.length; i++) sum += data[i]! * data[i]!;
  return sum;
}

/** The sum of one number per rank, in f64: squares of scaled sums overflow f32. */
async function sumOver({ rank, size, allGather }: Collectives, own: number): Promise<number> {
  const all = new Float64Array(size);
  all[rank] = own;
  const bytes = new Uint8Array(all.buffer);
  await allGather(
    bytes,
    Array.from({ length: size }, (_, r) => ({ from: 8 * r, to: 8 * (r + 1) })),
  );
  return all.reduce((a, b) => a + b, 0);
}

/** Tensors that the reference executor keeps in f64, as f32. */
const inF32 = (tensor: HostTensor): HostTensor =>
  tensor.data instanceof Float64Array ? hostTensor(tensor.dtype, tensor.axes, Float32Array.from(tensor.data)) : tensor;

/** A single all-reduce of several small tensors. */
async function reduceTogether(store: Store, names: readonly string[], collectives: Collectives): Promise<void> {
  const tensors = await Promise.all(names.map((name) => store.read(name)));
  const all = Float32Array.from(tensors.flatMap((t) => [...t.data]));
  await collectives.allReduce(all);
  let at = 0;
  for (const [i, { dtype, axes, data }] of tensors.entries()) {
    await store.write(names[i]!, hostTensor(dtype, axes, all.slice(at, at + data.length)));
    at += data.length;
  }
}

/** A tensor in the store that has rows for each sample of a step along an axis. */
interface SampleRows {
  readonly state: string;
  readonly axis: string;
  readonly share: Share;
}

/** All-gather: every rank has its own rows of a tensor, and afterwards all rows. */
async function gatherRows(store: Store, { state, axis, share }: SampleRows, { rank, allGather }: Collectives) {
  const rows = rowsOf(inF32(await store.read(state)), axis, share);
  const packed = rows.tensor.data.slice() as Numbers;
  packed.set(rows.of(rank), rows.ranges[rank]!.from);
  await allGather(packed, rows.ranges);
  for (const [r, { from, to }] of rows.ranges.entries()) rows.put(r, packed.subarray(from, to));
  await store.write(state, rows.tensor);
}

/** Reduce-scatter: every rank has a term of all rows, and afterwards the sums of its own. */
async function reduceOwnRows(store: Store, { state, axis, share }: SampleRows, { rank, reduceScatter }: Collectives) {
  const rows = rowsOf(inF32(await store.read(state)), axis, share);
  const packed = rows.tensor.data.slice() as Numbers;
  for (const [r, { from }] of rows.ranges.entries()) packed.set(rows.of(r), from);
  await reduceScatter(packed, rows.ranges);
  const { from, to } = rows.ranges[rank]!;
  rows.put(rank, packed.subarray(from, to));
  await store.write(state, rows.tensor);
}

/** The ranks' rows along an axis of a tensor, and their ranges when packed by rank. */
function rowsOf(tensor: HostTensor, axis: string, { ofRanks }: Share) {
  const samples = ofRanks.at(-1)!.to;
  const each = tensor.axes.find((a) => a.name === axis)!.size / samples;
  const length = tensor.data.length / samples;
  return {
    tensor,
    ranges: ofRanks.map(({ from, to }) => ({ from: from * length, to: to * length })),
    of: (r: number) => takeRows(tensor, axis, ofRanks[r]!.from * each, ofRanks[r]!.to * each).data as Numbers,
    put: (r: number, data: HostTensor["data"]) => putRows(tensor, axis, ofRanks[r]!.from * each, data),
  };
}
