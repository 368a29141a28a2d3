/**
 * Decides which values are materialized, and which each consumer recomputes. Walking the kernels from last to first, each
 * one says which values it reads; a value that is cheaper to recompute from what is read anyway is recomputed. One view of
 * cost serves all decisions: bytes read and written.
 */
import { InternalError } from "../diagnostics/error.ts";
import { addDims, type Dim } from "../ir/dim.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import { isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import {
  indexMapOf,
  isAffine,
  isBijective,
  isConcatenation,
  isDecoded,
  isElementwise,
  operandsAs,
  opRecord,
  overwritingOf,
  roleOf,
  sourceOf,
} from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import { cast, is, mul } from "../ops/index.ts";
import {
  coresOf,
  countRegions,
  type FusedKernel,
  type Fusion,
  isResident,
  isTable,
  isView,
  type Storage,
  type Store,
} from "./fused-kernel.ts";
import { type Group, isCore, type Place, type Placement, spaceOf } from "./groups.ts";
import { typical, typicalSpan } from "./sizes.ts";

/** Elementwise ops that a consumer may recompute for one value: it also bounds the time that the search takes. */
const maxRecomputedOps = 24;
/** Bytes that decide nothing: a scalar more or less. */
const negligibleBytes = 64;
/** A concatenation of so many parts is read through selects; a longer one is written by its parts' kernels. */
const maxSelectedParts = 4;

const bytesOf = (node: Node): number => typicalSpan(node.type.axes) * dtypeBytes[node.type.dtype];

/** Values that cost nothing to have: scalars known when the kernel is made, and indices. */
const isFree = (n: Node) => sourceOf(n) !== undefined && !isGraphInput(n) && !isTable(n);

/** A concatenation of too many parts to be read through selects. */
const isLongConcatenation = (n: Node): boolean => isConcatenation(n) && n.operands.length > maxSelectedParts;

/** A concatenation of what kernels compute and write in any case: each writes it in its place. */
function isOfProducts(n: Node): boolean {
  const made = (part: Node): boolean =>
    isCore(part) ||
    (isBijective(part) ? made(part.operands[0]!) : isFree(part) || (isAffine(part) && isFree(part.operands[0]!)));
  return isConcatenation(n) && n.operands.every(made);
}

/** Products of an element from which on a conversion of what is in memory is stored: it saves more reads than it costs. */
const manyUses = 1024;

/** How often a contraction or an attention multiplies an element of an operand. */
const usesOf = (core: Node, operand: Node): number => {
  const work = opRecord(core.op).work?.(
    core.operands.map((o) => o.type),
    core.attrs,
    core.type,
  );
  return work ? typical(work.macs) / typicalSpan(operand.type.axes) : 0;
};

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

/** A kernel whose reads are being decided: the consumer of the values that it asks for. */
interface Consumer {
  readonly group?: Group;
  /** What the kernel stores: computed in it, never read. */
  readonly results: ReadonlySet<Node>;
  /** Tensors that it may read. */
  readonly maxReads: number;
  readonly reads: Set<Node>;
  readonly done: Set<Node>;
}

class Materialization {
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
      if (this.isPrimary(store)) this.decided.add(store.value);
      this.decided.add(store.to.root);
    }
  }

  /** Whether a value is written to memory before the kernel at hand. */
  private isWritten(node: Node): boolean {
    return this.storage.has(node) && !this.decided.has(node);
  }

  /** Materializes a value. */
  private write(node: Node): void {
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
    else this.addToBucket(this.isPrimary(store) ? list.splice(0, 1, store)[0]! : store, place);
  }

  /** Whether a store is to where its value is read from: an indexing kernel builds its result there, and it is copied from there. */
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

  private runGroup(group: Group): void {
    let stores = this.sorted(this.groupStores.get(group) ?? []);
    if (stores.length === 0) return;
    let consumer = this.readGroup(group, stores);
    while (this.bindings(consumer, stores) > this.limits.maxBindings && stores.some((s) => !isCore(s.value))) {
      stores = this.evict(group, stores);
      consumer = this.readGroup(group, stores);
    }
    this.runStores(group, stores, consumer);
  }

  /** One kernel, or where the cores alone have too many results for one, several: each has the cores that it needs. */
  private runStores(group: Group, stores: readonly Store[], consumer = this.readGroup(group, stores)): void {
    if (stores.length === 1 || this.bindings(consumer, stores) <= this.limits.maxBindings) {
      this.emit({ kind: group.kind, group, axes: [], stores, reads: this.fitting(consumer, group, stores).reads });
      return;
    }
    const half = stores.length >> 1;
    this.runStores(group, stores.slice(half));
    this.runStores(group, stores.slice(0, half));
  }

  /** A consumer within the bindings: an operand that is computed in the kernel leaves room for the operands after it. */
  private fitting(consumer: Consumer, group: Group, stores: readonly Store[]): Consumer {
    for (
      let maxReads = consumer.maxReads - 1;
      maxReads > 0 && this.bindings(consumer, stores) > this.limits.maxBindings;
      maxReads--
    )
      consumer = this.readGroup(group, stores, maxReads);
    return consumer;
  }

  /** Tensors that a kernel may read beside its results; one that replaces a state needs no buffer but the state's. */
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

  /** Moves the last elementwise result of a group, with what else depends on it alone, to a kernel right after it. */
  private evict(group: Group, stores: readonly Store[]): Store[] {
    const last = stores.findLast((s) => !isCore(s.value))!;
    const rest = stores.filter((s) => s !== last);
    this.miss(last.value, `its producer's kernel would bind more than ${this.limits.maxBindings} buffers`);
    this.groupStores.set(group, [...rest]);
    this.runPieces([last], last.value.type.axes);
    return this.sorted(this.groupStores.get(group)!);
  }

  private readGroup(group: Group, stores: readonly Store[], maxReads = this.room(stores)): Consumer {
    const consumer: Consumer = { group, results: new Set(), maxReads, reads: new Set(), done: new Set() };
    this.readStarts(stores, consumer);
    for (const core of this.usedCores(group, stores)) this.readCore(core, consumer);
    for (const { value } of stores) this.walk(value, consumer);
    return consumer;
  }

  /** Reads where stores begin that a run says the place of. */
  private readStarts(stores: readonly Store[], consumer: Consumer): void {
    for (const { to } of stores) if (to.part?.start) this.resolve(to.part.start, consumer);
  }

  private usedCores(group: Group, stores: readonly Store[]): readonly Node[] {
    const used = coresOf(group, stores, this.places);
    return group.cores.filter((c) => used.has(c));
  }

  private readCore(core: Node, consumer: Consumer): void {
    // A mask is expressions of positions, computed in the innermost loop; a tensor would be larger than what is attended.
    const { kind } = group(consumer);
    const repeated = kind === "contraction" || kind === "attention";
    core.operands.forEach((operand, i) => {
      if (repeated && roleOf(core, i) !== "mask") this.resolveRepeated(operand, consumer, usesOf(core, operand));
      else this.resolve(operand, consumer);
    });
  }

  /** Reads what a value computed in this kernel is computed from. */
  private walk(node: Node, consumer: Consumer): void {
    if (consumer.done.has(node)) return;
    consumer.done.add(node);
    if (isCore(node)) {
      if (!consumer.group) this.read(node, consumer);
      return;
    }
    if (this.isResident(node) || overwritingOf(node)) {
      this.read(node, consumer);
      return;
    }
    for (const operand of node.operands) {
      if (this.isPartOf(operand, node)) this.walk(operand, consumer);
      else this.resolve(operand, consumer);
    }
  }

  /** Whether a value is nowhere but in the conversion of it that is stored: no recomputing, however many ops it takes. */
  private isPartOf(x: Node, stored: Node): boolean {
    if (!isElementwise(x) || !isNarrowing(stored) || this.storage.has(x) || this.decided.has(x)) return false;
    return this.places.get(x)!.group === this.places.get(stored)!.group;
  }

  private isOwn(node: Node, consumer: Consumer): boolean {
    if (consumer.results.has(node)) return true;
    return consumer.group !== undefined && this.places.get(node)!.group === consumer.group;
  }

  /** Decides how a kernel gets a value that it uses once per result. */
  private resolve(node: Node, consumer: Consumer): void {
    if (isFree(node) || consumer.reads.has(node)) return;
    if (this.isOwn(node, consumer)) {
      this.walk(node, consumer);
      return;
    }
    if (consumer.done.has(node)) return;
    if (this.isResident(node) || isCore(node) || overwritingOf(node)) {
      this.read(node, consumer);
      return;
    }
    if (this.isWritten(node) && !isElementwise(node)) {
      this.read(node, consumer);
      return;
    }
    if (isLongConcatenation(node) || isOfProducts(node)) {
      this.read(node, consumer);
      return;
    }
    if (!isElementwise(node)) {
      this.walk(node, consumer);
      return;
    }
    const leaves = this.inlinedLeaves(node, consumer);
    if (this.decided.has(node)) {
      // Its own kernel runs later: it is computed here, too, whatever that costs.
      for (const operand of node.operands) this.resolve(operand, consumer);
      consumer.done.add(node);
      return;
    }
    const written = this.storage.has(node) ? 1 : 2;
    const fits = leaves && consumer.reads.size + leaves.size <= consumer.maxReads;
    const cost = leaves ? this.cost(leaves, node) : 0;
    if (!fits || cost > bytesOf(node) * written + negligibleBytes) {
      this.miss(node, whyNotRecomputed(fits === true, leaves?.size, cost, bytesOf(node) * written));
      this.read(node, consumer);
      return;
    }
    for (const leaf of leaves) this.read(leaf, consumer);
    this.inline(node, consumer);
  }

  private miss(node: Node, reason: string): void {
    if (!this.misses.has(node)) this.misses.set(node, reason);
  }

  private read(node: Node, consumer: Consumer): void {
    if (isView(node) && this.isResident(node)) this.storage.set(node, viewStorage(node));
    else this.write(node);
    consumer.reads.add(node);
  }

  /** Decides how a kernel gets a value that it uses in its innermost loop: only what is nearly a load is computed there. */
  private resolveRepeated(node: Node, consumer: Consumer, uses: number): void {
    if (isFree(node) || consumer.reads.has(node)) return;
    if (this.isResident(node) || this.storage.has(node) || isCore(node) || this.storesNarrow(node, uses)) {
      this.read(node, consumer);
      return;
    }
    if (isNearlyLoad(node)) {
      for (const operand of node.operands) this.resolveRepeated(operand, consumer, uses);
    } else if (operandsAs(node, "table").length > 0) {
      node.operands.forEach((operand, i) => {
        if (roleOf(node, i) === "table") this.resolveRepeated(operand, consumer, uses);
        else this.read(operand, consumer);
      });
    } else {
      if (isElementwise(node)) this.miss(node, "the kernel would compute it again for every result");
      this.read(node, consumer);
    }
  }

  /** Whether a conversion to fewer bytes is stored: instead of its operand, or beside one that is read again very often. */
  private storesNarrow(node: Node, uses: number): boolean {
    const [x] = node.operands;
    if (!isNarrowing(node)) return false;
    if (this.isResident(x!) || this.storage.has(x!)) return uses >= manyUses;
    return !isNearlyLoad(x!) && operandsAs(x!, "table").length === 0 && !isFree(x!);
  }

  /** The values in memory that a value is recomputed from; undefined when that takes too many ops. */
  private inlinedLeaves(node: Node, consumer: Consumer): Set<Node> | undefined {
    const leaves = new Set<Node>();
    const seen = new Set<Node>();
    let budget = maxRecomputedOps;
    const visit = (n: Node, root: boolean): boolean => {
      if (seen.has(n) || isFree(n)) return true;
      seen.add(n);
      if (this.isOwn(n, consumer) || consumer.reads.has(n)) return true;
      const stops = this.isResident(n) || isCore(n) || overwritingOf(n) || (!root && this.isWritten(n));
      if (stops || isLongConcatenation(n) || isOfProducts(n)) {
        leaves.add(n);
        return true;
      }
      if (isElementwise(n) && --budget < 0) return false;
      return n.operands.every((o) => visit(o, false));
    };
    return visit(node, true) ? leaves : undefined;
  }

  /** Marks what is recomputed, so that it is not asked for again. */
  private inline(node: Node, consumer: Consumer): void {
    if (consumer.done.has(node) || consumer.reads.has(node) || isFree(node)) return;
    if (this.isOwn(node, consumer)) {
      this.walk(node, consumer);
      return;
    }
    consumer.done.add(node);
    for (const operand of node.operands) this.inline(operand, consumer);
  }

  /** Bytes moved to have the leaves: at most as many elements of each as the result has are read. */
  private cost(leaves: ReadonlySet<Node>, result: Node): number {
    let bytes = 0;
    for (const leaf of leaves) {
      const own = bytesOf(leaf);
      const written = this.isResident(leaf) || this.storage.has(leaf) || this.isWrittenAnyway(leaf, result);
      bytes += Math.min(own, bytesOf(result)) + (written ? 0 : own);
    }
    return bytes;
  }

  /** Whether a leaf is written whether or not the result is: its kernel cannot compute the result from it in registers. */
  private isWrittenAnyway(leaf: Node, result: Node): boolean {
    if (isConcatenation(leaf)) return true; // its parts' kernels store into it
    const { group } = this.places.get(leaf)!;
    return isCore(leaf) && this.places.get(result)!.group !== group;
  }

  private runBuckets(ready: number): void {
    // What the kernels of one bucket read falls into lower levels of the same readiness, so the highest level goes first.
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

  private runPiece(stores: readonly Store[], wanted: readonly Axis[]): void {
    const named = stores.some((s) => wanted.every((a) => findAxis(s.value.type, a.name)));
    const axes = named ? wanted : stores[0]!.value.type.axes;
    const results = new Set(stores.map((s) => s.value).filter((v) => !this.isResident(v)));
    const maxReads = this.room(stores);
    const consumer: Consumer = { results, maxReads, reads: new Set(), done: new Set() };
    this.readStarts(stores, consumer);
    for (const { value } of stores) this.walk(value, consumer);
    if (this.bindings(consumer, stores) <= this.limits.maxBindings) {
      this.emit({ kind: "elementwise", axes, stores, reads: consumer.reads });
    } else if (stores.length > 1) {
      for (const s of stores)
        this.miss(s.value, `beside its siblings a kernel would bind more than ${this.limits.maxBindings} buffers`);
      // The later half may read the earlier one's results: it is run first here and last on the device.
      const half = stores.length >> 1;
      this.runPiece(stores.slice(half), axes);
      this.runPiece(stores.slice(0, half), axes);
    } else this.materializeOperands(stores[0]!, axes, consumer);
  }

  /** A single result that reads too much: its operands become results of their own. */
  private materializeOperands(store: Store, axes: readonly Axis[], wide: Consumer): void {
    const consumer: Consumer = {
      results: new Set(),
      maxReads: this.limits.maxBindings - 1,
      reads: new Set(),
      done: new Set([store.value]),
    };
    this.readStarts([store], consumer);
    for (const operand of store.value.operands) {
      if (!isFree(operand)) this.readThrough(operand, consumer);
    }
    if (consumer.reads.size >= wide.reads.size) {
      throw new InternalError(
        `fuse: ${store.value.op} reads ${wide.reads.size} tensors, more than the ${this.limits.maxBindings} bindings`,
      );
    }
    this.emit({ kind: "elementwise", axes, stores: [store], reads: consumer.reads });
  }

  private readThrough(node: Node, consumer: Consumer): void {
    if (isFree(node)) return;
    const computed = isElementwise(node) && !this.decided.has(node);
    if (computed || isCore(node) || overwritingOf(node) || this.isResident(node)) {
      this.read(node, consumer);
      return;
    }
    for (const operand of node.operands) this.readThrough(operand, consumer);
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
    let budget = maxRecomputedOps;
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

/** Why an elementwise value is read and not recomputed. */
function whyNotRecomputed(fits: boolean, leaves: number | undefined, cost: number, saved: number): string {
  if (leaves === undefined) return `computing it again takes more than ${maxRecomputedOps} operations`;
  if (!fits) return `computing it again reads ${leaves} tensors, more than the kernel may bind`;
  return `computing it again moves ${cost} bytes, and reading it ${saved}`;
}

function viewStorage(node: Node): Storage {
  const { axis, start } = indexMapOf(node)!.range!;
  return { root: node.operands[0]!, part: { axis, offset: start } };
}

const group = (consumer: Consumer): Group => consumer.group!;

/** A movement that reads one operand or a number: a comparison beside the load. */
const isPadding = (n: Node): boolean => n.operands.length === 1 && indexMapOf(n)?.outside !== undefined;

/** A multiplication by a known scalar, which an innermost loop can afford. */
const isScaling = (n: Node): boolean => is(mul, n) && n.operands.some((o) => isFree(o) && o.type.axes.length === 0);

/** A conversion to fewer bytes. */
const isNarrowing = (node: Node): boolean =>
  isElementwise(node) && node.operands.length === 1 && bytesOf(node) < bytesOf(node.operands[0]!);

/** What an innermost loop can do beside a load. */
const isNearlyLoad = (node: Node): boolean =>
  isAffine(node) || isPadding(node) || is(cast, node) || isScaling(node) || isDecoded(node);

/** The kernels of a placed graph, with the values that lie in memory. */
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
  return new Materialization(nodes, placed.places, limits).run(outputs, placed.groups);
}
