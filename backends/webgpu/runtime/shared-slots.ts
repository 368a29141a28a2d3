/**
 * Memory that programs compute in. A run is one submission, results and states leave the slots within it, and a queue takes
 * submissions one after another: so all programs of a device share the slots, the largest of each the same buffer.
 */
import type { GpuDevice } from "./device.ts";
import { storageBuffer } from "./memory.ts";

/** A program among those that share. */
export class SlotUser {
  private readonly slots: SharedSlots;
  /** What the program is, for errors. */
  private readonly name: string;
  /** The shared buffer of each slot, by number; undefined for one that takes nothing yet. */
  private places: readonly (number | undefined)[] = [];
  /** Bytes by shared buffer: the largest first. */
  private needed: readonly number[] = [];
  /** Counts up when slots came to lie elsewhere. */
  private moves = 0;

  constructor(slots: SharedSlots, name: string) {
    this.slots = slots;
    this.name = name;
    slots.users.add(this);
  }

  get count(): number {
    return this.needed.length;
  }

  /** Changes when a slot's buffer is another one. */
  get generation(): number {
    return this.moves + this.slots.generation;
  }

  /** Makes room for slots of these bytes, and `grows` it where larger runs may follow. Slots with room stay where they are. */
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

  /** Whether all that was reserved is there: another program may have run out of memory since. */
  get isThere(): boolean {
    return this.needed.every((bytes, i) => (this.slots.buffers[i]?.size ?? 0) >= bytes);
  }

  bufferOf(slot: number): GPUBuffer {
    return this.slots.buffers[this.places[slot]!]!;
  }

  /** The buffers that it computes in. */
  get made(): readonly GPUBuffer[] {
    return this.slots.buffers.slice(0, this.count).filter((b) => b !== undefined);
  }

  /** Gives up buffers that the driver refused. */
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
  /** The largest of every program, then the second of every one. */
  readonly buffers: (GPUBuffer | undefined)[] = [];
  /** Counts up when a buffer was replaced. */
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

  /** Frees some of the buffers; whoever needs them makes them anew. What was submitted with them still runs. */
  forget(from: number, to = this.buffers.length): void {
    for (let i = from; i < Math.min(to, this.buffers.length); i++) {
      this.buffers[i]?.destroy();
      this.buffers[i] = undefined;
      this.generation++;
    }
  }
}
