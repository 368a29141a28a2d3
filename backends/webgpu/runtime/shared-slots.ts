/**
 * Activation memory shared by all programs of a device. Submissions execute in order, and results and states are copied
 * out of the slots within a run's submissions, so programs can share slots: the largest slots of all programs are one
 * buffer, the second largest another, and so on.
 */
import type { GpuDevice } from "./device.ts";
import { storageBuffer } from "./memory.ts";

/** One program's view of the shared slots. */
export class SlotUser {
  private readonly slots: SharedSlots;
  /** The program's name, for errors. */
  private readonly name: string;
  /** The index of each slot's shared buffer; undefined for an empty slot. */
  private places: readonly (number | undefined)[] = [];
  /** Bytes needed of each shared buffer, largest first. */
  private needed: readonly number[] = [];
  /** Incremented when slots are assigned to other buffers. */
  private moves = 0;

  constructor(slots: SharedSlots, name: string) {
    this.slots = slots;
    this.name = name;
    slots.users.add(this);
  }

  get count(): number {
    return this.needed.length;
  }

  /** Changes when any slot's buffer does, which invalidates bind groups. */
  get generation(): number {
    return this.moves + this.slots.generation;
  }

  /** Reserves slots of these bytes; `grows` overallocates for larger runs to come. Slots that still fit do not move. */
  reserve(bytes: readonly number[], grows: boolean): void {
    const sizeAt = (place: number | undefined) => (place === undefined ? 0 : (this.slots.buffers[place]?.size ?? 0));
    if (this.isThere && bytes.every((n, slot) => n <= sizeAt(this.places[slot]))) return;
    const order = bytes.flatMap((n, slot) => (n > 0 ? [slot] : [])).sort((a, b) => bytes[b]! - bytes[a]!);
    const places = bytes.map((n, slot) => (n > 0 ? order.indexOf(slot) : undefined));
    if (places.some((place, slot) => place !== this.places[slot])) this.moves++;
    this.places = places;
    this.needed = order.map((slot) => bytes[slot]!);
    this.slots.reserve(this.needed, grows, this.name);
  }

  /** Whether everything reserved is still allocated: another program may have freed it after running out of memory. */
  get isThere(): boolean {
    return this.needed.every((bytes, i) => (this.slots.buffers[i]?.size ?? 0) >= bytes);
  }

  bufferOf(slot: number): GPUBuffer {
    return this.slots.buffers[this.places[slot]!]!;
  }

  /** The allocated buffers that this program uses. */
  get made(): readonly GPUBuffer[] {
    return this.slots.buffers.slice(0, this.count).filter((b) => b !== undefined);
  }

  /** Drops buffers that the driver refused. */
  refused(): void {
    this.slots.forget(0, this.count);
  }

  dispose(): void {
    this.slots.users.delete(this);
    this.slots.forget(Math.max(0, ...[...this.slots.users].map((u) => u.count)));
  }
}

export class SharedSlots {
  readonly users = new Set<SlotUser>();
  /** By rank: each holds the slots of that rank of every program, largest first. */
  readonly buffers: (GPUBuffer | undefined)[] = [];
  /** Incremented when a buffer is freed. */
  generation = 0;
  private readonly gpu: GpuDevice;

  constructor(gpu: GpuDevice) {
    this.gpu = gpu;
  }

  reserve(needed: readonly number[], grows: boolean, name: string): void {
    for (const [i, bytes] of needed.entries()) {
      const now = this.buffers[i];
      if (now && now.size >= bytes) continue;
      const grown = now && grows ? Math.min(1.5 * now.size, this.gpu.limits.maxBufferSize) : 0;
      this.forget(i, i + 1);
      this.buffers[i] = storageBuffer(this.gpu, Math.max(bytes, grown), `slot ${i} of @${name}`, "activations");
    }
  }

  /** Frees a range of buffers; users reallocate them on demand. Work already submitted still completes. */
  forget(from: number, to = this.buffers.length): void {
    for (let i = from; i < Math.min(to, this.buffers.length); i++) {
      this.buffers[i]?.destroy();
      this.buffers[i] = undefined;
      this.generation++;
    }
  }
}
