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
import { beside, type Collectives, type Numbers, rangesOf } from "../collectives/index.ts";
import type { DividedState } from "../sharding/part-runs.ts";
import type { CompiledStep } from "./job.ts";
import { putRows, takeRows } from "./rows.ts";
import type { Between } from "./runs.ts";
import type { Share } from "./share.ts";

/** Tensors with fewer elements are reduced together in one message, to save latency. */
const small = 4096;

export function betweenRanks(
  { graph, accumulation, arenas }: CompiledStep,
  share: Share,
  collectives: Collectives,
  divided?: DividedState,
): Between {
  const { added, gathered, addedByRows = [], shard } = accumulation!.shared!;
  const sizeOf = new Map(accumulation!.sums.map(({ name, type }) => [name, type.axes]));
  const isSmall = (name: string) =>
    sizeOf.get(name)!.every(({ size }) => typeof size === "number" && size <= small) && sizeOf.get(name)!.length < 2;
  const inParts = new Map(
    shard?.gradients.flatMap(({ sum, part }, i) => (sum ? [[sum, { part, range: shard.ranges[i]! }]] : [])),
  );
  const few = added.filter((name) => isSmall(name) && !inParts.has(name));
  const many = added.filter((name) => !few.includes(name));
  const exchanges = beside();
  const outputs = divided ? new Map<string, string>() : earlySums(graph, accumulation!.sums.slice(0, arenas.length));
  const taken = new Set<string>();
  let writing: Promise<void>[] = [];
  let squares = 0;
  /** Reduces a tensor that was read from the store; the result is written back in the background. */
  const addOne = async (name: string, tensor: HostTensor, store: Store): Promise<void> => {
    const data = tensor.data as Float32Array;
    const own = inParts.get(name);
    if (!own) {
      await collectives.allReduce(data);
      return void writing.push(store.write(name, tensor));
    }
    await collectives.reduceScatter(data, rangesOf(data.length, collectives.size));
    const { from, to } = own.range;
    if (to === from) return;
    const part = data.slice(from, to);
    squares += sumOfSquares(part);
    writing.push(store.write(own.part, hostTensor("f32", [{ name: "arena", size: part.length }], part)));
  };
  return {
    share,
    early: [...outputs.keys()],
    addEarly: (output, sum, store) => {
      const name = outputs.get(output)!;
      taken.add(name);
      exchanges.add(sum, (tensor) => addOne(name, tensor, store));
    },
    besideSeconds: () => exchanges.seconds() + (divided?.gradients.besideSeconds() ?? 0),
    addUp: async (store) => {
      await exchanges.settled();
      squares += (await divided?.gradients.store(store)) ?? 0;
      const isLeft = (name: string) => !taken.has(name);
      await reduceTogether(store, few.filter(isLeft), collectives);
      // While one tensor is reduced, the next is read from the device and the previous one written to it.
      const left = many.filter(isLeft);
      let reading = left.length > 0 ? store.read(left[0]!) : undefined;
      for (const [i, name] of left.entries()) {
        const tensor = inF32(await reading!);
        reading = i + 1 < left.length ? store.read(left[i + 1]!) : undefined;
        const before = writing;
        writing = [];
        await addOne(name, tensor, store);
        await Promise.all(before);
      }
      await Promise.all(writing);
      writing = [];
      taken.clear();
      const own = squares;
      squares = 0;
      if (shard) await store.write(shard.norm, hostTensor("f32", [], [Math.sqrt(await sumOver(collectives, own))]));
    },
    ...(shard && {
      spread: async (store: Store) => {
        if (divided?.weights) return await divided.weights.refresh(store);
        for (const { parameters } of arenas) {
          const tensor = inF32(await store.read(parameters));
          await collectives.allGather(tensor.data as Float32Array, rangesOf(tensor.data.length, collectives.size));
          await store.write(parameters, tensor);
        }
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
