/** Which values are written to memory, where, and by which kernel: collected while kernels request values. */
import { addDims, type Dim } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { indexMapOf, isConcatenation, overwritingOf } from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { spaceOf } from "./coordinates.ts";
import { isFree, isResident, isView, type Storage, type Store } from "./fused-kernel.ts";
import type { Group, Place, Placement } from "./groups.ts";

/** Elementwise stores at one place in the order: same readiness, level and iteration space. */
export interface Bucket {
  readonly ready: number;
  readonly level: number;
  readonly axes: readonly Axis[];
  readonly stores: Store[];
}

export class Writes {
  readonly storage = new Map<Node, Storage>();
  readonly groupStores = new Map<Group, Store[]>();
  private readonly buckets = new Map<number, Map<string, Bucket>>();
  /** Values and tensors of decided kernels: as the walk goes from last to first, they are written too late to read. */
  readonly decided = new Set<Node>();
  /** Graph outputs, each of which needs a tensor of its own. */
  private readonly outputs: ReadonlySet<Node>;
  private readonly order: ReadonlyMap<Node, number>;
  private readonly places: Placement;

  constructor(nodes: readonly Node[], outputs: readonly Node[], places: Placement) {
    this.order = new Map(nodes.map((n, i) => [n, i]));
    this.outputs = new Set(outputs);
    this.places = places;
    for (const node of outputs) this.write(node);
  }

  /** Whether a value is already in memory: an input, a table, or a range of an input. */
  isResident(node: Node): boolean {
    return isResident(node) || (isView(node) && !this.outputs.has(node));
  }

  /** Marks the stores of a kernel, which runs before all kernels so far, as decided. */
  decide(stores: readonly Store[]): void {
    for (const store of stores) {
      if (this.isPrimary(store)) this.decided.add(store.value);
      this.decided.add(store.to.root);
    }
  }

  /** Whether a value is written to memory before the kernel at hand. */
  isWritten(node: Node): boolean {
    return this.storage.has(node) && !this.decided.has(node);
  }

  /** Materializes a value. */
  write(node: Node): void {
    if (this.storage.has(node) || this.isResident(node)) return;
    const over = overwritingOf(node);
    if (over) {
      const { kept, range, start, axis } = over;
      this.storage.set(node, { root: kept });
      this.addStore({ value: range, to: { root: kept, part: { axis, offset: 0, start } } });
      return;
    }
    const storage: Storage = { root: node };
    this.storage.set(node, storage);
    if (isConcatenation(node)) this.writeParts(node);
    else this.addStore({ value: node, to: storage });
  }

  /** The kernel of each part stores into the concatenation; other users of a part read it from there. */
  private writeParts(node: Node): void {
    const axis = indexMapOf(node)!.consecutive!;
    let offset: Dim = 0;
    for (const part of node.operands) {
      const to: Storage = { root: node, part: { axis, offset } };
      if (!this.storage.has(part) && !this.outputs.has(part) && !this.isResident(part) && !isFree(part))
        this.storage.set(part, to);
      this.addStore({ value: part, to });
      offset = addDims(offset, findAxis(part.type, axis)!.size);
    }
  }

  private addStore(store: Store): void {
    const place = this.places.get(store.value)!;
    const list = place.group && this.groupStores.get(place.group);
    if (!place.group) this.addToBucket(store, place);
    else if (!list) this.groupStores.set(place.group, [store]);
    else if (place.group.kind !== "indexing") list.push(store);
    else this.addToBucket(this.isPrimary(store) ? list.splice(0, 1, store)[0]! : store, place);
  }

  /** Whether a store is to where its value is read from: indexing kernels build results there, and then copy them. */
  private isPrimary({ value, to }: Store): boolean {
    const read = this.storage.get(value);
    return read?.root === to.root && read.part?.offset === to.part?.offset;
  }

  private addToBucket(store: Store, { ready, level }: Place): void {
    const axes = store.value.type.axes;
    const names = spaceOf(store.value)
      .map((a) => `${a.name}=${a.size}`)
      .sort();
    const key = `${level}/${names.join(",")}`;
    let byKey = this.buckets.get(ready);
    if (!byKey) this.buckets.set(ready, (byKey = new Map()));
    const bucket = byKey.get(key);
    if (bucket) bucket.stores.push(store);
    else byKey.set(key, { ready, level, axes, stores: [store] });
  }

  /**
   * Removes and returns the bucket of a readiness with the highest level: reads of its kernels add only to lower levels
   * of the same readiness.
   */
  takeBucket(ready: number): Bucket | undefined {
    const byKey = this.buckets.get(ready) ?? new Map<string, Bucket>();
    let top: string | undefined;
    for (const [key, bucket] of byKey) if (top === undefined || bucket.level > byKey.get(top)!.level) top = key;
    const bucket = top === undefined ? undefined : byKey.get(top);
    if (top !== undefined) byKey.delete(top);
    return bucket;
  }

  sorted(stores: readonly Store[]): Store[] {
    return [...stores].sort((a, b) => this.order.get(a.value)! - this.order.get(b.value)!);
  }
}
