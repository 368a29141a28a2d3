/**
 * Decides which values are materialized, and in which kernels. Kernels are visited from last to first: each decides
 * which values it reads (reads.ts), and earlier kernels then have to write those (writes.ts).
 */
import { InternalError } from "../diagnostics/error.ts";
import type { Node } from "../ir/node.ts";
import { opRecord } from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { connected } from "./connected.ts";
import { isCore } from "./cores.ts";
import { coresOf, countRegions, type FusedKernel, type Fusion, type Store } from "./fused-kernel.ts";
import type { Group, Placement } from "./groups.ts";
import { type Consumer, Reads } from "./reads.ts";
import { wantedOf } from "./wanted.ts";
import { Writes } from "./writes.ts";

/** How contraction schedules compute whole rows. */
export interface RowTiles {
  /** Threads that share the columns of a row, which are dealt out to them in groups of four, round-robin. */
  readonly lanes: number;
  /** Rows per workgroup. */
  readonly rows: number;
}

/** How products compute and read rows whose norm is fused into them. */
export interface RowParts {
  /** Possible elements per part of a row, the preferred first. */
  readonly widths: readonly number[];
  /** Why no schedule supports a kernel with such epilogue or prologue reductions; undefined if one does. */
  refuses(kernel: FusedKernel, fusion: Pick<Fusion, "storage">, places: Placement): string | undefined;
}

/** Limits on kernels. */
export interface FusionLimits {
  /** Storage buffers per kernel. */
  readonly maxBindings: number;
  /** Outputs that replace a state, with that state: a kernel that reads one and writes the other binds one buffer. */
  readonly successors: ReadonlyMap<Node, Node>;
  /** How products compute whole rows, if that is possible and not slower. */
  readonly rowTiles?: RowTiles | undefined;
  /** How norms are fused into products, if that is possible. */
  readonly rowParts?: RowParts | undefined;
}

class Materialization {
  private readonly kernels: FusedKernel[] = [];
  private readonly writes: Writes;
  private readonly reads: Reads;
  private readonly places: Placement;
  private readonly limits: FusionLimits;

  constructor(nodes: readonly Node[], outputs: readonly Node[], places: Placement, limits: FusionLimits) {
    this.places = places;
    this.limits = limits;
    this.writes = new Writes(nodes, outputs, places);
    this.reads = new Reads(wantedOf(nodes, places), this.writes, places);
  }

  run(groups: readonly Group[]): Fusion {
    for (let position = groups.length - 1; position >= -1; position--) {
      this.runBuckets(position);
      if (position >= 0) this.runGroup(groups[position]!);
    }
    return { kernels: this.kernels.reverse(), storage: this.writes.storage, misses: this.reads.misses };
  }

  /** Adds a kernel that runs before all kernels so far. */
  private emit(kernel: FusedKernel): void {
    this.kernels.push(kernel);
    this.writes.decide(kernel.stores);
  }

  private runGroup(group: Group): void {
    let stores = this.writes.sorted(this.writes.groupStores.get(group) ?? []);
    if (stores.length === 0) return;
    let consumer = this.readGroup(group, stores);
    while (this.bindings(consumer, stores) > this.limits.maxBindings && stores.some((s) => !isCore(s.value))) {
      stores = this.evict(group, stores);
      consumer = this.readGroup(group, stores);
    }
    if (stores.length > 0) this.runStores(group, stores, consumer);
  }

  /** Emits one kernel, or several if the cores have too many results for one: each computes the cores that it needs. */
  private runStores(group: Group, stores: readonly Store[], consumer = this.readGroup(group, stores)): void {
    if (stores.length === 1 || this.bindings(consumer, stores) <= this.limits.maxBindings) {
      this.emit({ kind: group.kind, group, axes: [], stores, reads: this.fitting(consumer, group, stores).reads });
      return;
    }
    const half = stores.length >> 1;
    this.runStores(group, stores.slice(half));
    this.runStores(group, stores.slice(0, half));
  }

  /** A consumer within the binding limit: a smaller `maxReads` makes it recompute less from several tensors. */
  private fitting(consumer: Consumer, group: Group, stores: readonly Store[]): Consumer {
    for (
      let maxReads = consumer.maxReads - 1;
      maxReads > 0 && this.bindings(consumer, stores) > this.limits.maxBindings;
      maxReads--
    )
      consumer = this.readGroup(group, stores, maxReads);
    return consumer;
  }

  /** Tensors that a kernel may read besides its results; a result that replaces a state shares the state's buffer. */
  private room(stores: readonly Store[]): number {
    return this.limits.maxBindings - stores.filter((s) => !this.limits.successors.has(s.value)).length;
  }

  private bindings(consumer: Consumer, stores: readonly Store[]): number {
    const shared = stores.filter((s) => {
      const state = this.limits.successors.get(s.value);
      return state !== undefined && consumer.reads.has(state);
    });
    return consumer.reads.size + countRegions(stores.map((s) => s.to)) - shared.length;
  }

  /** Moves the last elementwise result of a group to a kernel of its own right after the group's. */
  private evict(group: Group, stores: readonly Store[]): Store[] {
    const last = stores.findLast((s) => !isCore(s.value))!;
    const rest = stores.filter((s) => s !== last);
    this.reads.miss(last.value, `its producer's kernel would bind more than ${this.limits.maxBindings} buffers`);
    this.writes.groupStores.set(group, [...rest]);
    this.runPieces([last], last.value.type.axes);
    // It may read values of the same readiness that no group computes: their kernels run between the group's and its
    // own.
    this.runBuckets(group.position);
    return this.writes.sorted(this.writes.groupStores.get(group)!);
  }

  private readGroup(group: Group, stores: readonly Store[], maxReads = this.room(stores)): Consumer {
    const consumer: Consumer = { group, results: new Set(), maxReads, reads: new Set(), done: new Set() };
    this.reads.readStarts(stores, consumer);
    for (const core of this.usedCores(group, stores)) this.reads.readCore(core, consumer);
    for (const { value } of stores) this.reads.walk(value, consumer);
    return consumer;
  }

  private usedCores(group: Group, stores: readonly Store[]): readonly Node[] {
    const used = coresOf(group, stores, this.places);
    return group.cores.filter((c) => used.has(c));
  }

  private runBuckets(ready: number): void {
    for (let bucket = this.writes.takeBucket(ready); bucket; bucket = this.writes.takeBucket(ready))
      this.runPieces(this.writes.sorted(bucket.stores), bucket.axes);
  }

  /** Emits one kernel per set of stores that share what they read, as far as the binding limit allows. */
  private runPieces(stores: readonly Store[], axes: readonly Axis[]): void {
    const isResident = (n: Node) => this.writes.isResident(n);
    for (const piece of connected(stores, this.places, isResident)) this.runPiece(this.writes.sorted(piece), axes);
  }

  private runPiece(stores: readonly Store[], wanted: readonly Axis[]): void {
    const named = stores.some((s) => wanted.every((a) => findAxis(s.value.type, a.name)));
    const axes = named ? wanted : stores[0]!.value.type.axes;
    const results = new Set(stores.map((s) => s.value).filter((v) => !this.writes.isResident(v)));
    const maxReads = this.room(stores);
    const consumer: Consumer = { results, maxReads, reads: new Set(), done: new Set() };
    this.reads.readStarts(stores, consumer);
    for (const { value } of stores) this.reads.walk(value, consumer);
    if (this.bindings(consumer, stores) <= this.limits.maxBindings) {
      this.emit({ kind: "elementwise", axes, stores, reads: consumer.reads });
    } else if (stores.length > 1) {
      for (const s of stores)
        this.reads.miss(
          s.value,
          `one kernel for it and its siblings would bind more than ${this.limits.maxBindings} buffers`,
        );
      // The later half may read results of the earlier one: it is visited first and so runs last.
      const half = stores.length >> 1;
      this.runPiece(stores.slice(half), axes);
      this.runPiece(stores.slice(0, half), axes);
    } else this.materializeOperands(stores[0]!, axes, consumer);
  }

  /** A single result with too many reads: materializes its operands, and if necessary whole concatenations. */
  private materializeOperands(store: Store, axes: readonly Axis[], wide: Consumer): void {
    for (const whole of [false, true]) {
      const consumer = this.readOperands(store, whole);
      if (this.bindings(consumer, [store]) > this.limits.maxBindings) continue;
      this.emit({ kind: "elementwise", axes, stores: [store], reads: consumer.reads });
      return;
    }
    throw new InternalError(
      `fuse: ${store.value.op} reads ${wide.reads.size} tensors, more than the ${this.limits.maxBindings} bindings`,
    );
  }

  private readOperands(store: Store, whole: boolean): Consumer {
    const consumer: Consumer = {
      results: new Set(),
      maxReads: this.limits.maxBindings - 1,
      reads: new Set(),
      done: new Set([store.value]),
    };
    this.reads.readStarts([store], consumer);
    for (const operand of store.value.operands) this.reads.readThrough(operand, consumer, whole);
    return consumer;
  }
}

/** The kernels of a placed graph, and where materialized values are stored. */
export function materialize(
  nodes: readonly Node[],
  outputs: readonly Node[],
  placed: { readonly places: Placement; readonly groups: readonly Group[] },
  limits: FusionLimits,
): Fusion {
  for (const n of nodes) {
    if (opRecord(n.op).kind === "composite" && !isCore(n)) {
      throw new InternalError(`fuse: composite ${n.op} was not decomposed`);
    }
  }
  return new Materialization(nodes, outputs, placed.places, limits).run(placed.groups);
}
