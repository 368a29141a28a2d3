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
  /**
   * Copies this rank's ranges of the arenas from the store, after they were set or updated; from other tensors of these
   * ranges if `names` gives them by arena.
   */
  refresh(store: Store, names?: readonly string[]): Promise<void>;
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

/** A weight that one of the ranks has loaded. */
type Made = Pick<HostTensor, "dtype" | "axes"> & { readonly name: string };

/** The channel for gathering weights, concurrent with gradients; lower numbers are for data. */
const weightsChannel = 2 ** 13;

export const weightParts = (step: CompiledStep, collectives: Collectives): WeightParts =>
  new HeldParts(step, collectives);

class HeldParts implements WeightParts {
  readonly #collectives: Collectives;
  readonly #channel: Channel;
  readonly #arenas: CompiledStep["arenas"];
  /** This rank's range of each arena, and its values. */
  readonly #own: readonly Range[];
  readonly #values: Float32Array<ArrayBuffer>[];
  /** In the order in which all ranks know them. */
  readonly #held = new Map<string, Held>();
  #lastAsked: Promise<unknown> = Promise.resolve();

  constructor({ arenas }: CompiledStep, collectives: Collectives) {
    const { rank, size } = collectives;
    this.#collectives = collectives;
    this.#channel = collectives.channel(weightsChannel);
    this.#arenas = arenas;
    this.#own = arenas.map(({ layout }) => rangesOf(layout.size, size)[rank]!);
    this.#values = arenas.map(() => new Float32Array(0));
    for (const [i, { layout }] of arenas.entries())
      for (const { name, type, offset, length } of layout.entries) {
        const ranges = rangesWithin(layout.size, size, offset, length);
        const { from, to } = ranges[rank]!;
        const first = offset + from - this.#own[i]!.from;
        const own = () => bytesOf(this.#values[i]!.subarray(first, first + to - from));
        this.#held.set(name, { dtype: "f32", axes: type.axes as readonly SizedAxis[], ranges, own });
      }
  }

  has(name: string): boolean {
    return this.#held.has(name);
  }

  bytes(): number {
    return [...this.#held.values()].reduce((n, { own }) => n + own().length, 0);
  }

  async fill(nodes: readonly Node[], make: (node: Node, store: Pick<Store, "write">) => Promise<void>): Promise<void> {
    const { rank, size } = this.#collectives;
    const tell = telling(this.#collectives);
    for (let first = 0; first < nodes.length; first += size) {
      const made = new Map<string, HostTensor>();
      const node = nodes[first + rank];
      if (node) await make(node, { write: async (name, tensor) => void made.set(name, tensor) });
      const all = await tell([...made].map(([name, { dtype, axes }]) => ({ name, dtype, axes })));
      for (const [root, tensors] of all.entries())
        for (const tensor of tensors) await this.#divide(tensor, root, made.get(tensor.name));
    }
  }

  async refresh(store: Store, names = this.#arenas.map(({ parameters }) => parameters)): Promise<void> {
    for (const [i, { from, to }] of this.#own.entries())
      if (to > from) this.#values[i] = Float32Array.from((await store.read(names[i]!)).data);
  }

  async gather(names: readonly string[]): Promise<ReadonlyMap<string, HostTensor>> {
    const { rank, size } = this.#collectives;
    const tensors = names.map((name) => this.#heldAs(name));
    const inBytes = tensors.map(({ dtype, ranges }) => ranges.map((range) => bytesOfRange(range, dtype)));
    const ranges = packedRanges(inBytes, size);
    const packed = new Uint8Array(ranges.at(-1)!.to);
    let at = ranges[rank]!.from;
    for (const { own } of tensors) {
      const bytes = own();
      packed.set(bytes, at);
      at += bytes.length;
    }
    await this.#channel.allGather(packed, ranges);
    const whole = tensors.map(({ dtype, axes }) => allocate(dtype, elementCount(axes)));
    at = 0;
    for (let r = 0; r < size; r++)
      for (const [i, pieces] of inBytes.entries()) {
        const { from, to } = pieces[r]!;
        bytesOf(whole[i]!).set(packed.subarray(at, at + to - from), from);
        at += to - from;
      }
    return new Map(names.map((name, i) => [name, hostTensor(tensors[i]!.dtype, tensors[i]!.axes, whole[i]!)]));
  }

  ask(name: string): Promise<HostTensor> {
    const asked = this.#lastAsked.then(() => this.#askFor(name));
    this.#lastAsked = asked.catch(() => {});
    return asked;
  }

  async dismiss(): Promise<void> {
    await this.#lastAsked;
    await this.#say(-1);
  }

  async serve(): Promise<void> {
    for (;;) {
      const number = await this.#say(-1);
      if (number < 0) return;
      await this.gather([[...this.#held.keys()][number]!]);
    }
  }

  /** Scatters a weight from the rank that has made it. */
  async #divide({ name, dtype, axes }: Made, root: number, whole: HostTensor | undefined): Promise<void> {
    const ranges = rangesOf(elementCount(axes), this.#collectives.size, 1);
    const inBytes = ranges.map((range) => bytesOfRange(range, dtype));
    const { from, to } = inBytes[this.#collectives.rank]!;
    const given = whole ? bytesOf(whole.data) : new Uint8Array(new ArrayBuffer(to - from));
    await this.#collectives.scatter(given, inBytes, root);
    const bytes = whole ? given.slice(from, to) : given;
    this.#held.set(name, { dtype, axes, ranges, own: () => bytes });
  }

  async #askFor(name: string): Promise<HostTensor> {
    this.#heldAs(name);
    await this.#say([...this.#held.keys()].indexOf(name));
    return (await this.gather([name])).get(name)!;
  }

  /** Broadcast from rank 0 to the serving ranks: the index of a weight, or -1 to stop. */
  async #say(number: number): Promise<number> {
    const said = Int32Array.of(number);
    await this.#collectives.broadcast(said, 0);
    return said[0]!;
  }

  #heldAs(name: string): Held {
    const found = this.#held.get(name);
    if (!found) throw new UsageError(`no rank holds a weight "${name}"${didYouMean(name, this.#held.keys())}`);
    return found;
  }
}

const bytesOfRange = ({ from, to }: Range, dtype: DType): Range => ({
  from: from * dtypeBytes[dtype],
  to: to * dtypeBytes[dtype],
});

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Uint8Array =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
