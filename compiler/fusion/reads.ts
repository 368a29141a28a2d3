/**
 * Decides how a kernel gets each of its inputs: by reading it, which materializes it, or by recomputing it from other
 * reads. All decisions use one cost model: bytes read and written.
 */
import type { Node } from "../ir/node.ts";
import {
  indexMapOf,
  isAffine,
  isBijective,
  isConcatenation,
  isElementwise,
  isPerPlace,
  operandsAs,
  opRecord,
  overwritingOf,
  roleOf,
} from "../ir/op.ts";
import { isCore } from "./cores.ts";
import { bytesOf, isFree, isView, type NearMiss, type Storage, type Store } from "./fused-kernel.ts";
import type { Group, Placement } from "./groups.ts";
import { typical, typicalSpan } from "./sizes.ts";
import { isNarrowing, isNearlyLoad, narrowsComputed, type Wanted } from "./wanted.ts";
import type { Writes } from "./writes.ts";

/** Elementwise ops that a consumer may recompute per value: enough for an optimizer update. Also bounds search time. */
export const maxRecomputedOps = 48;
/** Cost differences up to this many bytes are ignored: a scalar more or less. */
const negligibleBytes = 64;
/** A concatenation of at most this many parts is read through selects; a longer one is materialized. */
const maxSelectedParts = 4;

/** Multiply-accumulates per element from which a narrowing conversion of a value in memory is worth materializing. */
const manyUses = 1024;

/** Multiply-accumulates of a contraction or attention per element of an operand. */
const usesOf = (core: Node, operand: Node): number => {
  const work = opRecord(core.op).work?.(
    core.operands.map((o) => o.type),
    core.attrs,
    core.type,
  );
  return work ? typical(work.macs) / typicalSpan(operand.type.axes) : 0;
};

/** A kernel whose reads are being decided. */
export interface Consumer {
  readonly group?: Group;
  /** The values that the kernel stores: computed in it, never read. */
  readonly results: ReadonlySet<Node>;
  /** The number of tensors that it may read. */
  readonly maxReads: number;
  readonly reads: Set<Node>;
  readonly done: Set<Node>;
}

export class Reads {
  private readonly missed = new Map<Node, string>();
  private readonly wanted: Wanted;
  private readonly writes: Writes;
  private readonly places: Placement;

  constructor(wanted: Wanted, writes: Writes, places: Placement) {
    this.wanted = wanted;
    this.writes = writes;
    this.places = places;
  }

  get misses(): NearMiss[] {
    return [...this.missed].map(([node, reason]) => ({ node, reason }));
  }

  /** Whether the kernels of its parts materialize a concatenation; otherwise its readers select among the parts. */
  private isStoredWhole(node: Node): boolean {
    if (!isConcatenation(node)) return false;
    return (
      node.operands.length > maxSelectedParts ||
      this.wanted.stored.has(node) ||
      isOfProducts(node) ||
      node.operands.some((part) => this.freesTable(part))
    );
  }

  /** Whether a value is a small lookup in a large computed table: materializing it frees the table early. */
  private freesTable(value: Node): boolean {
    const isLarger = (table: Node) => !this.writes.isResident(table) && bytesOf(table) > manyUses * bytesOf(value);
    return operandsAs(value, "table").some(isLarger);
  }

  readCore(core: Node, consumer: Consumer): void {
    // Masks and biases are computed in the innermost loop: as tensors they would be larger than the attention operands.
    const { kind } = consumer.group!;
    const repeated = kind === "contraction" || kind === "attention";
    core.operands.forEach((operand, i) => {
      if (repeated && !isPerPlace(core, i)) this.resolveRepeated(operand, consumer, usesOf(core, operand));
      else this.resolve(operand, consumer);
    });
  }

  /** Reads the run-time start offsets of stores. */
  readStarts(stores: readonly Store[], consumer: Consumer): void {
    for (const { to } of stores) if (to.part?.start) this.resolve(to.part.start, consumer);
  }

  /** Resolves the operands of a value that is computed in this kernel. */
  walk(node: Node, consumer: Consumer): void {
    if (consumer.done.has(node)) return;
    consumer.done.add(node);
    if (isCore(node)) {
      if (!consumer.group) this.read(node, consumer);
      return;
    }
    if (this.writes.isResident(node) || overwritingOf(node)) {
      this.read(node, consumer);
      return;
    }
    for (const operand of node.operands) {
      if (this.isPartOf(operand, node)) this.walk(operand, consumer);
      else this.resolve(operand, consumer);
    }
  }

  /** Whether only the narrowing conversion of an operand is stored, so that computing the operand repeats no work. */
  private isPartOf(x: Node, stored: Node): boolean {
    if (!isElementwise(x) || !isNarrowing(stored) || this.writes.storage.has(x) || this.writes.decided.has(x))
      return false;
    return this.places.get(x)!.group === this.places.get(stored)!.group;
  }

  private isOwn(node: Node, consumer: Consumer): boolean {
    if (consumer.results.has(node)) return true;
    return consumer.group !== undefined && this.places.get(node)!.group === consumer.group;
  }

  /** Decides how a kernel gets a value that it uses once per result element. */
  private resolve(node: Node, consumer: Consumer): void {
    if (isFree(node) || consumer.reads.has(node)) return;
    if (this.isOwn(node, consumer)) this.walk(node, consumer);
    else if (consumer.done.has(node)) return;
    else if (this.isAlwaysRead(node)) this.read(node, consumer);
    else if (isElementwise(node)) this.readOrRecompute(node, consumer);
    else this.walk(node, consumer);
  }

  /** Whether a value of another kernel is read whatever recomputing it would cost. */
  private isAlwaysRead(node: Node): boolean {
    const { writes, wanted } = this;
    if (writes.isResident(node) || isCore(node) || overwritingOf(node) || this.isStoredWhole(node)) return true;
    return isElementwise(node) ? wanted.ends.has(node) && !writes.decided.has(node) : writes.isWritten(node);
  }

  private readOrRecompute(node: Node, consumer: Consumer): void {
    const waits = consumer.group && this.places.get(node)!.ready >= consumer.group.position;
    if (waits || this.writes.decided.has(node)) {
      // Its own kernel runs later, so it must be recomputed here whatever the cost.
      for (const operand of node.operands) this.resolve(operand, consumer);
      consumer.done.add(node);
      return;
    }
    const leaves = this.inlinedLeaves(node, consumer);
    const reason = this.whyRead(node, leaves, consumer);
    if (!leaves || reason !== undefined) {
      this.miss(node, reason!);
      this.read(node, consumer);
      return;
    }
    for (const leaf of leaves) this.read(leaf, consumer);
    this.inline(node, consumer);
  }

  /** Why an elementwise value is read rather than recomputed from `leaves`; undefined if recomputing is cheaper. */
  private whyRead(node: Node, leaves: ReadonlySet<Node> | undefined, consumer: Consumer): string | undefined {
    if (!leaves) return `recomputing it takes more than ${maxRecomputedOps} operations`;
    // Recomputing from a single tensor needs no more bindings than reading the value itself.
    if (leaves.size > 1 && consumer.reads.size + leaves.size > consumer.maxReads) return bindsTooMany(leaves);
    const [cost, saved] = [this.cost(leaves, node), this.costInMemory(leaves, node)];
    // If storing the value or its leaves costs the same, store the value: it saves its later users work.
    const isTie = cost === saved && [...leaves].some((leaf) => !this.isInMemory(leaf, node));
    if (!isTie && cost <= saved + negligibleBytes) return undefined;
    return `recomputing it moves ${cost} bytes, and storing and reading it ${saved}`;
  }

  miss(node: Node, reason: string): void {
    if (!this.missed.has(node)) this.missed.set(node, reason);
  }

  private read(node: Node, consumer: Consumer): void {
    if (isView(node) && this.writes.isResident(node)) this.writes.storage.set(node, viewStorage(node));
    else this.writes.write(node);
    consumer.reads.add(node);
  }

  /** Decides how a kernel gets a value that it uses in its innermost loop: only near-loads are computed there. */
  private resolveRepeated(node: Node, consumer: Consumer, uses: number): void {
    const leaves = this.repeatedLeaves(node, uses);
    const more = leaves.difference(consumer.reads).size;
    const fits = more <= 1 || consumer.reads.size + more <= consumer.maxReads;
    if (!fits) this.miss(node, bindsTooMany(leaves));
    for (const leaf of fits ? leaves : [node]) this.read(leaf, consumer);
  }

  /** The values in memory from which an innermost loop computes a value; the value itself if it is no near-load. */
  private repeatedLeaves(node: Node, uses: number): Set<Node> {
    const { writes } = this;
    if (isFree(node)) return new Set();
    if (writes.isResident(node) || writes.storage.has(node) || isCore(node) || this.storesNarrow(node, uses))
      return new Set([node]);
    const isLookup = operandsAs(node, "table").length > 0;
    if (isNearlyLoad(node) || isLookup)
      return new Set(
        node.operands.flatMap((operand, i) =>
          isLookup && roleOf(node, i) !== "table" ? [operand] : [...this.repeatedLeaves(operand, uses)],
        ),
      );
    if (isElementwise(node)) this.miss(node, "its consumer would recompute it for every result");
    return new Set([node]);
  }

  /** Whether a narrowing conversion is stored: instead of its operand, or in addition if it is read very often. */
  private storesNarrow(node: Node, uses: number): boolean {
    const [x] = node.operands;
    if (isNarrowing(node) && (this.writes.isResident(x!) || this.writes.storage.has(x!))) return uses >= manyUses;
    return narrowsComputed(node);
  }

  /** The values in memory that a value is recomputed from; undefined if that takes too many ops. */
  private inlinedLeaves(node: Node, consumer: Consumer): Set<Node> | undefined {
    const leaves = new Set<Node>();
    const seen = new Set<Node>();
    let budget = maxRecomputedOps;
    const visit = (n: Node, root: boolean): boolean => {
      if (seen.has(n) || isFree(n)) return true;
      seen.add(n);
      if (this.isOwn(n, consumer) || consumer.reads.has(n)) return true;
      const stops =
        this.writes.isResident(n) ||
        isCore(n) ||
        overwritingOf(n) ||
        (!root && (this.writes.isWritten(n) || this.wanted.ends.has(n)));
      if (stops || this.isStoredWhole(n)) {
        leaves.add(n);
        return true;
      }
      if (isElementwise(n) && --budget < 0) return false;
      return n.operands.every((o) => visit(o, false));
    };
    return visit(node, true) ? leaves : undefined;
  }

  /** Marks a recomputed value and its operands as done. */
  private inline(node: Node, consumer: Consumer): void {
    if (consumer.done.has(node) || consumer.reads.has(node) || isFree(node)) return;
    if (this.isOwn(node, consumer)) {
      this.walk(node, consumer);
      return;
    }
    consumer.done.add(node);
    for (const operand of node.operands) this.inline(operand, consumer);
  }

  /** Bytes moved to read the leaves, of each at most the size of the result, plus writing those not in memory yet. */
  private cost(leaves: ReadonlySet<Node>, result: Node): number {
    let bytes = 0;
    for (const leaf of leaves) {
      const own = bytesOf(leaf);
      bytes += Math.min(own, bytesOf(result)) + (this.isInMemory(leaf, result) ? 0 : own);
    }
    return bytes;
  }

  /**
   * Whether reading a value causes no additional write. A concatenation needs none: the kernels of its parts store into
   * it. Nor does a core of another group: its kernel cannot compute the result, so the core is written in any case.
   */
  private isInMemory(leaf: Node, result?: Node): boolean {
    const { group } = this.places.get(leaf)!;
    return (
      (result !== undefined && isCore(leaf) && this.places.get(result)!.group !== group) ||
      isConcatenation(leaf) ||
      this.writes.isResident(leaf) ||
      this.writes.storage.has(leaf) ||
      this.wanted.stored.has(leaf)
    );
  }

  /**
   * Bytes moved to read a value itself; if it is not written yet, plus the write and what its kernel reads for it
   * besides its own cores.
   */
  private costInMemory(leaves: ReadonlySet<Node>, node: Node): number {
    if (this.isInMemory(node)) return bytesOf(node);
    const { group } = this.places.get(node)!;
    const others = [...leaves].filter((leaf) => !group || this.places.get(leaf)!.group !== group);
    return 2 * bytesOf(node) + this.cost(new Set(others), node);
  }

  /** Reads the nearest values that a kernel can write; concatenations are read as parts unless `whole`. */
  readThrough(node: Node, consumer: Consumer, whole: boolean): void {
    if (isFree(node)) return;
    const isWritable = isElementwise(node) || (isConcatenation(node) && (whole || this.isStoredWhole(node)));
    const computed = isWritable && !this.writes.decided.has(node);
    if (computed || isCore(node) || overwritingOf(node) || this.writes.isResident(node)) {
      this.read(node, consumer);
      return;
    }
    for (const operand of node.operands) this.readThrough(operand, consumer, whole);
  }
}

/** A concatenation whose parts are all cores (moved at most) or free values: their kernels store into it directly. */
function isOfProducts(n: Node): boolean {
  const made = (part: Node): boolean =>
    isCore(part) ||
    (isBijective(part) ? made(part.operands[0]!) : isFree(part) || (isAffine(part) && isFree(part.operands[0]!)));
  return isConcatenation(n) && n.operands.every(made);
}

const bindsTooMany = (leaves: ReadonlySet<Node>): string =>
  `recomputing it reads ${leaves.size} tensors, more than its consumer may bind`;

function viewStorage(node: Node): Storage {
  const { axis, start } = indexMapOf(node)!.range!;
  return { root: node.operands[0]!, part: { axis, offset: start } };
}
