/**
 * Sharded weights: each rank keeps a part in host memory, and whole weights are gathered when needed. Trained weights
 * are sharded by the ranges of their arenas, frozen ones into equal parts. Rajbhandari et al. 2020, section 5.3.
 */
import type { Store } from "../../backends/backend.ts";
import {
  allocate,
  type DType,
  didYouMean,
  dtypeBytes,
  elementCount,
  type HostTensor,
  hostTensor,
  type Node,
  type SizedAxis,
  UsageError,
} from "../../compiler/index.ts";
import { type Channel, type Collectives, type Range, rangesOf, telling } from "../collectives/index.ts";
import type { CompiledStep } from "../training/job.ts";
import { packedRanges, rangesWithin } from "./shard.ts";

export interface WeightParts {
  /**
   * Shards frozen weights. Each is loaded by only one rank, which writes its stored form to the given store and
   * scatters it to the others.
   */
  fill(nodes: readonly Node[], make: (node: Node, store: Pick<Store, "write">) => Promise<void>): Promise<void>;
  /** Copies this rank's ranges of the arenas from the store, after they were set or updated. */
  refresh(store: Store): Promise<void>;
  /** Gathers some weights; all ranks must make the same calls in the same order. */
  gather(names: readonly string[]): Promise<ReadonlyMap<string, HostTensor>>;
  /**
   * For rank 0 only, while all others `serve`: gathers a weight that only it needs. `dismiss` releases the others, and
   * must be called even after a failure.
   */
  ask(name: string): Promise<HostTensor>;
  dismiss(): Promise<void>;
  serve(): Promise<void>;
  has(name: string): boolean;
  /** Host memory used by this rank's parts, in bytes. */
  bytes(): number;
}

interface Held {
  readonly dtype: DType;
  readonly axes: readonly SizedAxis[];
  readonly ranges: readonly Range[];
  readonly own: () => Uint8Array;
}

/** The channel for gathering weights, concurrent with gradients; lower numbers are for data. */
const weightsChannel = 2 ** 13;

export function weightParts(step: CompiledStep, collectives: Collectives): WeightParts {
  const { rank, size } = collectives;
  const channel: Channel = collectives.channel(weightsChannel);
  const tell = telling(collectives);
  const held = new Map<string, Held>();
  const arenas = step.arenas.map(({ layout }) => rangesOf(layout.size, size)[rank]!);
  const data = arenas.map(() => new Float32Array(0));
  for (const [i, { layout }] of step.arenas.entries())
    for (const { name, type, offset, length } of layout.entries) {
      const ranges = rangesWithin(layout.size, size, offset, length);
      const { from, to } = ranges[rank]!;
      const first = offset + from - arenas[i]!.from;
      const own = () => bytesOf(data[i]!.subarray(first, first + to - from));
      held.set(name, { dtype: "f32", axes: type.axes as readonly SizedAxis[], ranges, own });
    }
  const heldAs = (name: string): Held => {
    const found = held.get(name);
    if (!found) throw new UsageError(`no rank holds a weight "${name}"${didYouMean(name, held.keys())}`);
    return found;
  };
  const gather = async (names: readonly string[]) => {
    const tensors = names.map(heldAs);
    const inBytes = tensors.map(({ dtype, ranges }) =>
      ranges.map(({ from, to }) => ({ from: from * dtypeBytes[dtype], to: to * dtypeBytes[dtype] })),
    );
    const ranges = packedRanges(inBytes, size);
    const packed = new Uint8Array(ranges.at(-1)!.to);
    let at = ranges[rank]!.from;
    for (const { own } of tensors) {
      const bytes = own();
      packed.set(bytes, at);
      at += bytes.length;
    }
    await channel.allGather(packed, ranges);
    const whole = tensors.map(({ dtype, axes }) => allocate(dtype, elementCount(axes)));
    at = 0;
    for (let r = 0; r < size; r++)
      for (const [i, pieces] of inBytes.entries()) {
        const { from, to } = pieces[r]!;
        bytesOf(whole[i]!).set(packed.subarray(at, at + to - from), from);
        at += to - from;
      }
    return new Map(names.map((name, i) => [name, hostTensor(tensors[i]!.dtype, tensors[i]!.axes, whole[i]!)]));
  };
  const order = [...held.keys()];
  /** Broadcast from rank 0 to the serving ranks: the index of a weight, or -1 to stop. */
  const say = async (number: number): Promise<number> => {
    const said = Int32Array.of(number);
    await collectives.broadcast(said, 0);
    return said[0]!;
  };
  let last: Promise<unknown> = Promise.resolve();
  const askFor = async (name: string): Promise<HostTensor> => {
    heldAs(name);
    await say(order.indexOf(name));
    return (await gather([name])).get(name)!;
  };
  return {
    fill: async (nodes, make) => {
      for (let first = 0; first < nodes.length; first += size) {
        const made = new Map<string, HostTensor>();
        const node = nodes[first + rank];
        if (node) await make(node, { write: async (name, tensor) => void made.set(name, tensor) });
        const all = await tell([...made].map(([name, { dtype, axes }]) => ({ name, dtype, axes })));
        for (const [root, tensors] of all.entries())
          for (const { name, dtype, axes } of tensors) {
            const ranges = rangesOf(elementCount(axes), size, 1);
            const inBytes = ranges.map((r) => ({ from: r.from * dtypeBytes[dtype], to: r.to * dtypeBytes[dtype] }));
            const { from, to } = inBytes[rank]!;
            const whole = made.get(name);
            const given = whole ? bytesOf(whole.data) : new Uint8Array(new ArrayBuffer(to - from));
            await collectives.scatter(given, inBytes, root);
            const bytes = whole ? given.slice(from, to) : given;
            if (!held.has(name)) order.push(name);
            held.set(name, { dtype, axes, ranges, own: () => bytes });
          }
      }
    },
    refresh: async (store) => {
      for (const [i, { from, to }] of arenas.entries())
        if (to > from) data[i] = Float32Array.from((await store.read(step.arenas[i]!.parameters)).data);
    },
    gather,
    ask: (name) => {
      const asked = last.then(() => askFor(name));
      last = asked.catch(() => {});
      return asked;
    },
    dismiss: async () => {
      await last;
      await say(-1);
    },
    has: (name) => held.has(name),
    serve: async () => {
      for (;;) {
        const number = await say(-1);
        if (number < 0) return;
        await gather([order[number]!]);
      }
    },
    bytes: () => [...held.values()].reduce((n, { own }) => n + own().length, 0),
  };
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
