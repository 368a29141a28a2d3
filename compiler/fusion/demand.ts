/**
 * Decides what is written to memory. Walking the kernels from last to first, each one says which values it reads; a value
 * that is cheaper to compute again from what is read anyway is computed again. One view of cost serves all decisions:
 * bytes read and written.
 */
import { InternalError } from "../diagnostics/error.ts";
import { addDims, type Dim } from "../ir/dim.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import { isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import {
  indexMapOf,
  isAffine,
  isConcatenation,
  isConstant,
  isElementwise,
  operandsAs,
  opRecord,
  roleOf,
  sourceOf,
} from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import type { KernelKind } from "../kernel/kernel.ts";
import { cast, is, mul } from "../ops/index.ts";
import { type Group, isCore, type Place, type Placement } from "./groups.ts";
import { typicalSpan } from "./sizes.ts";

/** Where a value lies: a tensor of its own, or a part of a concatenation's. */
export interface Storage {
  readonly root: Node;
  readonly part?: { readonly axis: string; readonly offset: Dim };
}

export interface Store {
  readonly value: Node;
  readonly to: Storage;
}

/** What one kernel computes: stores of values, from values it reads; everything between is expressions. */
export interface FusedKernel {
  readonly kind: KernelKind;
  /** The group whose cores and coordinates it has; none for a kernel that is elementwise alone. */
  readonly group?: Group;
  /** The iteration space of an elementwise kernel. */
  readonly axes: readonly Axis[];
  readonly stores: readonly Store[];
  readonly reads: ReadonlySet<Node>;
}

/** A value that a kernel might have computed for itself, and why it is read from memory instead. */
export interface NearMiss {
  readonly node: Node;
  readonly reason: string;
}

export interface Fusion {
  /** In an order in which they can run. */
  readonly kernels: readonly FusedKernel[];
  /** Where each written value is read from. */
  readonly storage: ReadonlyMap<Node, Storage>;
  /** What was not fused although it nearly was; a plan that was read from text has none. */
  readonly misses: readonly NearMiss[];
}

/** Ops that an inlined cone may have: a bound on recomputation and on the time the search takes. */
const coneLimit = 24;
/** Bytes that decide nothing: a scalar more or less. */
const smallChange = 64;
/** A concatenation of so many parts is read through selects; a longer one is written by its parts' kernels. */
const inlineParts = 4;

const bytesOf = (node: Node): number => typicalSpan(node.type.axes) * dtypeBytes[node.type.dtype];

const isTable = (n: Node) => isConstant(n) && n.type.axes.length > 0;
/** Values that cost nothing to have: scalars known when the kernel is made, and indices. */
const isFree = (n: Node) => sourceOf(n) !== undefined && !isGraphInput(n) && !isTable(n);

/** A value that memory holds without our writing it. */
export const isResident = (n: Node): boolean => isGraphInput(n) || isTable(n);

/** A range of an input along its slowest axis, such as a parameter in an arena: it is read where it lies. */
export function isView(n: Node): boolean {
  const range = indexMapOf(n)?.range;
  const x = n.operands[0];
  return range !== undefined && isGraphInput(x!) && x!.type.axes[0]!.name === range.axis;
}

/** A concatenation of too many parts to be read through selects. */
const isLong = (n: Node): boolean => isConcatenation(n) && n.operands.length > inlineParts;

/** What bounds a kernel. */
export interface FusionLimits {
  /** Storage buffers that it may have. */
  readonly maxBindings: number;
  /** Outputs that replace a state: where a kernel reads the state and writes its successor, both share a buffer. */
  readonly successors: ReadonlyMap<Node, Node>;
}

/** Elementwise kernels at one place in the order: same readiness, level and iteration space. */
interface Bucket {
  readonly ready: number;
  readonly level: number;
  readonly axes: readonly Axis[];
  readonly stores: Store[];
}

interface Reader {
  readonly group?: Group;
  /** What the kernel stores: computed in it, never read. */
  readonly results: ReadonlySet<Node>;
  /** Tensors that it may read. */
  readonly most: number;
  readonly reads: Set<Node>;
  readonly done: Set<Node>;
}

class Demand {
  private readonly storage = new Map<Node, Storage>();
  private readonly groupStores = new Map<Group, Store[]>();
  private readonly buckets = new Map<number, Map<string, Bucket>>();
  private readonly kernels: FusedKernel[] = [];
  private readonly misses = new Map<Node, string>();
  /** Values and tensors whose kernels are decided. The walk goes from last to first, so these are written too late to be read. */
  private readonly decided = new Set<Node>();
  /** Handed out whole, so they lie in tensors of their own. */
  private readonly outputs = new Set<Node>();
  private readonly order: ReadonlyMap<Node, number>;
  private readonly places: Placement;
  private readonly limits: FusionLimits;

  constructor(nodes: readonly Node[], places: Placement, limits: FusionLimits) {
    this.order = new Map(nodes.map((n, i) => [n, i]));
    this.places = places;
    this.limits = limits;
  }

  run(outputs: readonly Node[], groups: readonly Group[]): Fusion {
    for (const node of outputs) this.outputs.add(node);
    for (const node of outputs) this.write(node);
    for (let position = groups.length - 1; position >= -1; position--) {
      this.runBuckets(position);
      if (position >= 0) this.runGroup(groups[position]!);
    }
    const misses = [...this.misses].map(([node, reason]) => ({ node, reason }));
    return { kernels: this.kernels.reverse(), storage: this.storage, misses };
  }

  /** A value that memory holds already: an input, a table, or a range of an input. */
  private isResident(node: Node): boolean {
    return isResident(node) || (isView(node) && !this.outputs.has(node));
  }

  /** A kernel that runs before all kernels so far. */
  private emit(kernel: FusedKernel): void {
    this.kernels.push(kernel);
    for (const store of kernel.stores) {
      if (this.isHome(store)) this.decided.add(store.value);
      this.decided.add(store.to.root);
    }
  }

  /** Whether a value is written to memory before the kernel at hand. */
  private isWritten(node: Node): boolean {
    return this.storage.has(node) && !this.decided.has(node);
  }

  /** Makes a value lie in memory. */
  private write(node: Node): void {
    if (this.storage.has(node) || this.isResident(node)) return;
    const storage: Storage = { root: node };
    this.storage.set(node, storage);
    if (isConcatenation(node)) this.writeParts(node);
    else this.addStore({ value: node, to: storage });
  }

  /** Each part's kernel stores into its place; a part that is used elsewhere too is read from there. */
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
    else this.addToBucket(this.isHome(store) ? list.splice(0, 1, store)[0]! : store, place);
  }

  /** Whether a store is to where its value is read from: an indexing kernel builds its result there, and it is copied from there. */
  private isHome({ value, to }: Store): boolean {
    const home = this.storage.get(value);
    return home?.root === to.root && home.part?.offset === to.part?.offset;
  }

  private addToBucket(store: Store, { ready, level }: Place): void {
    const axes = store.value.type.axes;
    const names = axes.map((a) => `${a.name}=${a.size}`).sort();
    const key = `${level}/${names.join(",")}`;
    let byKey = this.buckets.get(ready);
    if (!byKey) this.buckets.set(ready, (byKey = new Map()));
    const bucket = byKey.get(key);
    if (bucket) bucket.stores.push(store);
    else byKey.set(key, { ready, level, axes, stores: [store] });
  }

  private runGroup(group: Group): void {
    let stores = this.sorted(this.groupStores.get(group) ?? []);
    if (stores.length === 0) return;
    let reader = this.readGroup(group, stores);
    while (this.bindings(reader, stores) > this.limits.maxBindings && stores.some((s) => !isCore(s.value))) {
      stores = this.evict(group, stores);
      reader = this.readGroup(group, stores);
    }
    this.runStores(group, stores, reader);
  }

  /** One kernel, or where the cores alone have too many results for one, several: each has the cores that it needs. */
  private runStores(group: Group, stores: readonly Store[], reader = this.readGroup(group, stores)): void {
    if (stores.length === 1 || this.bindings(reader, stores) <= this.limits.maxBindings) {
      this.emit({ kind: group.kind, group, axes: [], stores, reads: this.fitting(reader, group, stores).reads });
      return;
    }
    const half = stores.length >> 1;
    this.runStores(group, stores.slice(half));
    this.runStores(group, stores.slice(0, half));
  }

  /** A reader within the bindings: an operand that is computed in the kernel leaves room for the operands after it. */
  private fitting(reader: Reader, group: Group, stores: readonly Store[]): Reader {
    for (let most = reader.most - 1; most > 0 && this.bindings(reader, stores) > this.limits.maxBindings; most--)
      reader = this.readGroup(group, stores, most);
    return reader;
  }

  /** Tensors that a kernel may read beside its results; one that replaces a state needs no buffer but the state's. */
  private room(stores: readonly Store[]): number {
    return this.limits.maxBindings - stores.filter((s) => !this.limits.successors.has(s.value)).length;
  }

  private bindings(reader: Reader, stores: readonly Store[]): number {
    const shared = stores.filter((s) => {
      const state = this.limits.successors.get(s.value);
      return state !== undefined && reader.reads.has(state);
    });
    return reader.reads.size + countRegions(stores.map((s) => s.to)) - shared.length;
  }

  /** Moves the last elementwise result of a group, with what else depends on it alone, to a kernel right after it. */
  private evict(group: Group, stores: readonly Store[]): Store[] {
    const last = stores.findLast((s) => !isCore(s.value))!;
    const rest = stores.filter((s) => s !== last);
    this.miss(last.value, `its producer's kernel would bind more than ${this.limits.maxBindings} buffers`);
    this.groupStores.set(group, [...rest]);
    this.runPieces([last], last.value.type.axes);
    return this.sorted(this.groupStores.get(group)!);
  }

  private readGroup(group: Group, stores: readonly Store[], most = this.room(stores)): Reader {
    const reader: Reader = { group, results: new Set(), most, reads: new Set(), done: new Set() };
    for (const core of this.usedCores(group, stores)) this.readCore(core, reader);
    for (const { value } of stores) this.walk(value, reader);
    return reader;
  }

  private usedCores(group: Group, stores: readonly Store[]): readonly Node[] {
    const used = coresOf(group, stores, this.places);
    return group.cores.filter((c) => used.has(c));
  }

  private readCore(core: Node, reader: Reader): void {
    // A mask is expressions of positions, computed in the innermost loop; a tensor would be larger than what is attended.
    const { kind } = group(reader);
    const repeated = kind === "contraction" || kind === "attention";
    core.operands.forEach((operand, i) => {
      if (repeated && roleOf(core, i) !== "mask") this.resolveRepeated(operand, reader);
      else this.resolve(operand, reader);
    });
  }

  /** Reads what a value computed in this kernel is computed from. */
  private walk(node: Node, reader: Reader): void {
    if (reader.done.has(node)) return;
    reader.done.add(node);
    if (isCore(node)) {
      if (!reader.group) this.read(node, reader);
      return;
    }
    if (this.isResident(node)) {
      this.read(node, reader);
      return;
    }
    for (const operand of node.operands) this.resolve(operand, reader);
  }

  private isOwn(node: Node, reader: Reader): boolean {
    if (reader.results.has(node)) return true;
    return reader.group !== undefined && this.places.get(node)!.group === reader.group;
  }

  /** Decides how a kernel gets a value that it uses once per result. */
  private resolve(node: Node, reader: Reader): void {
    if (isFree(node) || reader.reads.has(node)) return;
    if (this.isOwn(node, reader)) {
      this.walk(node, reader);
      return;
    }
    if (reader.done.has(node)) return;
    if (this.isResident(node) || isCore(node)) {
      this.read(node, reader);
      return;
    }
    if (this.isWritten(node) && !isElementwise(node)) {
      this.read(node, reader);
      return;
    }
    if (isLong(node)) {
      this.read(node, reader);
      return;
    }
    if (!isElementwise(node)) {
      this.walk(node, reader);
      return;
    }
    const leaves = this.cone(node, reader);
    if (this.decided.has(node)) {
      // Its own kernel runs later: it is computed here, too, whatever that costs.
      for (const operand of node.operands) this.resolve(operand, reader);
      reader.done.add(node);
      return;
    }
    const written = this.storage.has(node) ? 1 : 2;
    const fits = leaves && reader.reads.size + leaves.size <= reader.most;
    const cost = leaves ? this.cost(leaves, node) : 0;
    if (!fits || cost > bytesOf(node) * written + smallChange) {
      this.miss(node, whyNotAgain(fits === true, leaves?.size, cost, bytesOf(node) * written));
      this.read(node, reader);
      return;
    }
    for (const leaf of leaves) this.read(leaf, reader);
    this.markCone(node, reader);
  }

  private miss(node: Node, reason: string): void {
    if (!this.misses.has(node)) this.misses.set(node, reason);
  }

  private read(node: Node, reader: Reader): void {
    if (isView(node) && this.isResident(node)) this.storage.set(node, viewStorage(node));
    else this.write(node);
    reader.reads.add(node);
  }

  /** Decides how a kernel gets a value that it uses in its innermost loop: only what is nearly a load is computed there. */
  private resolveRepeated(node: Node, reader: Reader): void {
    if (isFree(node) || reader.reads.has(node)) return;
    if (this.isResident(node) || this.storage.has(node) || isCore(node)) {
      this.read(node, reader);
      return;
    }
    if (isAffine(node) || is(cast, node) || isScaling(node)) {
      for (const operand of node.operands) this.resolveRepeated(operand, reader);
    } else if (operandsAs(node, "table").length > 0) {
      node.operands.forEach((operand, i) => {
        if (roleOf(node, i) === "table") this.resolveRepeated(operand, reader);
        else this.read(operand, reader);
      });
    } else {
      if (isElementwise(node)) this.miss(node, "the kernel would compute it again for every result");
      this.read(node, reader);
    }
  }

  /** The values in memory that an expression comes down to; undefined when it is too long to compute again. */
  private cone(node: Node, reader: Reader): Set<Node> | undefined {
    const leaves = new Set<Node>();
    const seen = new Set<Node>();
    let budget = coneLimit;
    const visit = (n: Node, root: boolean): boolean => {
      if (seen.has(n) || isFree(n)) return true;
      seen.add(n);
      if (this.isOwn(n, reader) || reader.reads.has(n)) return true;
      const stops = this.isResident(n) || isCore(n) || (!root && this.isWritten(n));
      if (stops || isLong(n)) {
        leaves.add(n);
        return true;
      }
      if (isElementwise(n) && --budget < 0) return false;
      return n.operands.every((o) => visit(o, false));
    };
    return visit(node, true) ? leaves : undefined;
  }

  private markCone(node: Node, reader: Reader): void {
    if (reader.done.has(node) || reader.reads.has(node) || isFree(node)) return;
    if (this.isOwn(node, reader)) {
      this.walk(node, reader);
      return;
    }
    reader.done.add(node);
    for (const operand of node.operands) this.markCone(operand, reader);
  }

  /** Bytes moved to have the leaves: at most as many elements of each as the result has are read. */
  private cost(leaves: ReadonlySet<Node>, result: Node): number {
    let bytes = 0;
    for (const leaf of leaves) {
      const own = bytesOf(leaf);
      // A concatenation costs no write of its own: its parts' kernels store into it.
      const written = isConcatenation(leaf) || this.isResident(leaf) || this.storage.has(leaf);
      bytes += Math.min(own, bytesOf(result)) + (written ? 0 : own);
    }
    return bytes;
  }

  private runBuckets(ready: number): void {
    // Demands of one bucket fall into lower levels of the same readiness, so the highest level goes first.
    for (;;) {
      const byKey = this.buckets.get(ready);
      if (!byKey || byKey.size === 0) return;
      let top: string | undefined;
      for (const [key, bucket] of byKey) if (top === undefined || bucket.level > byKey.get(top)!.level) top = key;
      const bucket = byKey.get(top!)!;
      byKey.delete(top!);
      this.runPieces(this.sorted(bucket.stores), bucket.axes);
    }
  }

  /** Stores that share what they read become one kernel, as far as the bindings reach. */
  private runPieces(stores: readonly Store[], axes: readonly Axis[]): void {
    for (const piece of this.connected(stores)) this.runPiece(piece, axes);
  }

  private runPiece(stores: readonly Store[], axes: readonly Axis[]): void {
    const results = new Set(stores.map((s) => s.value).filter((v) => !this.isResident(v)));
    const most = this.room(stores);
    const reader: Reader = { results, most, reads: new Set(), done: new Set() };
    for (const { value } of stores) this.walk(value, reader);
    if (this.bindings(reader, stores) <= this.limits.maxBindings) {
      this.emit({ kind: "elementwise", axes, stores, reads: reader.reads });
    } else if (stores.length > 1) {
      for (const s of stores)
        this.miss(s.value, `beside its siblings a kernel would bind more than ${this.limits.maxBindings} buffers`);
      // The later half may read the earlier one's results: it is run first here and last on the device.
      const half = stores.length >> 1;
      this.runPiece(stores.slice(half), axes);
      this.runPiece(stores.slice(0, half), axes);
    } else this.narrow(stores[0]!, axes, reader);
  }

  /** A single result that reads too much: its operands become results of their own. */
  private narrow(store: Store, axes: readonly Axis[], wide: Reader): void {
    const reader: Reader = {
      results: new Set(),
      most: this.limits.maxBindings - 1,
      reads: new Set(),
      done: new Set([store.value]),
    };
    for (const operand of store.value.operands) {
      if (!isFree(operand)) this.readThrough(operand, reader);
    }
    if (reader.reads.size >= wide.reads.size) {
      throw new InternalError(
        `fuse: ${store.value.op} reads ${wide.reads.size} tensors, more than the ${this.limits.maxBindings} bindings`,
      );
    }
    this.emit({ kind: "elementwise", axes, stores: [store], reads: reader.reads });
  }

  private readThrough(node: Node, reader: Reader): void {
    if (isFree(node)) return;
    const computed = isElementwise(node) && !this.decided.has(node);
    if (computed || isCore(node) || this.isResident(node)) {
      this.read(node, reader);
      return;
    }
    for (const operand of node.operands) this.readThrough(operand, reader);
  }

  private connected(stores: readonly Store[]): Store[][] {
    const pieces: { stores: Store[]; touched: Set<Node> }[] = [];
    for (const store of stores) {
      const touched = this.touched(store.value);
      const joined = pieces.filter((p) => [...touched].some((n) => p.touched.has(n)));
      const merged = { stores: [...joined.flatMap((p) => p.stores), store], touched };
      for (const p of joined) {
        for (const n of p.touched) touched.add(n);
        pieces.splice(pieces.indexOf(p), 1);
      }
      pieces.push(merged);
    }
    return pieces.map((p) => this.sorted(p.stores));
  }

  /**
   * What connects a value with others of its bucket: every value at the same place in the order that it comes from, so
   * that pieces never wait for one another, and the tensors that it is likely to read.
   */
  private touched(node: Node): Set<Node> {
    const { ready } = this.places.get(node)!;
    const found = new Set<Node>();
    const stack = [node];
    let budget = coneLimit;
    while (stack.length > 0) {
      const n = stack.pop()!;
      if (found.has(n) || isFree(n)) continue;
      const place = this.places.get(n)!;
      const beside = !place.group && place.ready === ready && !this.isResident(n);
      if (!beside && (n.type.axes.length === 0 || --budget < 0)) continue;
      found.add(n);
      if (beside || !(this.isResident(n) || isCore(n))) stack.push(...n.operands);
    }
    return found;
  }

  private sorted(stores: readonly Store[]): Store[] {
    return [...stores].sort((a, b) => this.order.get(a.value)! - this.order.get(b.value)!);
  }
}

/** Why an elementwise value is read and not computed again. */
function whyNotAgain(fits: boolean, leaves: number | undefined, cost: number, saved: number): string {
  if (leaves === undefined) return `computing it again takes more than ${coneLimit} operations`;
  if (!fits) return `computing it again reads ${leaves} tensors, more than the kernel may bind`;
  return `computing it again moves ${cost} bytes, and reading it ${saved}`;
}

/** The buffers that kernels bind for these places: one for each tensor, and for each part of a tensor. */
export function countRegions(places: readonly Storage[]): number {
  const parts = new Map<Node, Set<Dim>>();
  for (const { root, part } of places) {
    const offsets = parts.get(root) ?? new Set();
    parts.set(root, offsets.add(part?.offset ?? 0));
  }
  return [...parts.values()].reduce((n, offsets) => n + offsets.size, 0);
}

function viewStorage(node: Node): Storage {
  const { axis, start } = indexMapOf(node)!.range!;
  return { root: node.operands[0]!, part: { axis, offset: start } };
}

const group = (reader: Reader): Group => reader.group!;

/** A multiplication by a known scalar, which an innermost loop can afford. */
const isScaling = (n: Node): boolean => is(mul, n) && n.operands.some((o) => isFree(o) && o.type.axes.length === 0);

/** The cores of a group that its stores need. */
export function coresOf(g: Group, stores: readonly Store[], places: Placement): Set<Node> {
  const own = new Set(g.cores);
  const used = new Set<Node>();
  const seen = new Set<Node>();
  const stack = stores.map((s) => s.value);
  while (stack.length > 0) {
    const n = stack.pop()!;
    if (seen.has(n) || places.get(n)!.ready < g.position) continue;
    seen.add(n);
    if (own.has(n)) used.add(n);
    stack.push(...n.operands);
  }
  return used;
}

/** Fuses a placed graph. */
export function decideMemory(
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
  return new Demand(nodes, placed.places, limits).run(outputs, placed.groups);
}
