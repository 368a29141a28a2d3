/**
 * The shape of a fused kernel: everything that its code depends on and nothing else. Kernels of equal shape, such as
 * those of identical blocks, are lowered once and differ only in their bindings.
 */

import {
  type FusedKernel,
  type Group,
  type Part,
  type Placement,
  piecesOf,
  type Storage,
  type Store,
  spanOf,
} from "../fusion/index.ts";
import { type Dim, mulDims } from "../ir/dim.ts";
import { attrKey, type Node } from "../ir/node.ts";
import { isParameter, sourceOf } from "../ir/op.ts";
import { type Axis, typeKey } from "../ir/type.ts";
import { keyOf } from "../kernel/index.ts";

/** A range of a tensor's memory that a kernel addresses as one unit. */
export interface Region {
  readonly root: Node;
  /** The offset of its first element in the root. */
  readonly start: number;
  /** The axes by which it is addressed, slowest first. */
  readonly axes: readonly Axis[];
}

/** Where a value lies within a region: all of it, or a part shifted along one axis. */
export interface Place {
  readonly region: number;
  readonly shift?: Part;
}

export interface KernelShape {
  /** Equal exactly if the shapes are equal. */
  readonly key: string;
  readonly regions: readonly Region[];
  readonly reads: ReadonlyMap<Node, Place>;
  /** `reads`, plus values that the kernel itself stores, for the reductions that follow it. */
  readonly epilogueReads: ReadonlyMap<Node, Place>;
  readonly stores: ReadonlyMap<Store, Place>;
  /** Per-row results of the prologue reductions, which stay in workgroup memory. */
  readonly kept: ReadonlySet<Node>;
}

class ShapeWalk {
  readonly regions: Region[] = [];
  readonly reads = new Map<Node, Place>();
  readonly epilogueReads = new Map<Node, Place>();
  readonly stores = new Map<Store, Place>();
  private readonly regionIds = new Map<string, number>();
  private readonly rootIds = new Map<Node, number>();
  /** The numbers of the nodes of the current piece. */
  private readonly numbers = new Map<Node, number>();
  private group: Group | undefined;
  private ownReads: ReadonlySet<Node> = new Set();
  private readonly lines: string[] = [];
  private readonly kept = new Set<Node>();
  private readonly kernel: FusedKernel;
  private readonly storage: ReadonlyMap<Node, Storage>;
  private readonly places: Placement;
  private readonly alignment: number;
  /** Roots that the kernel writes and also addresses as a whole: one region each, so that no two bindings overlap. */
  private readonly undivided = new Set<Node>();

  constructor(kernel: FusedKernel, storage: ReadonlyMap<Node, Storage>, places: Placement, alignment: number) {
    this.kernel = kernel;
    this.storage = storage;
    this.places = places;
    this.alignment = alignment;
    const written = new Set(kernel.stores.map((s) => s.to.root));
    const all = [...kernel.stores.map((s) => s.to), ...[...kernel.reads].map((r) => this.storageOf(r))];
    for (const s of all) if (written.has(s.root) && !this.standsAlone(s)) this.undivided.add(s.root);
  }

  private storageOf(node: Node): Storage {
    return this.storage.get(node) ?? { root: node };
  }

  run(): KernelShape {
    for (const piece of this.kernel.prologues ?? []) this.prologue(piece);
    for (const piece of piecesOf(this.kernel)) this.piece(piece);
    if (this.kernel.partWidth) this.lines.push(`parts of ${this.kernel.partWidth}`);
    const epilogueReads = new Map([...this.reads, ...this.epilogueReads]);
    const { regions, reads, stores, kept } = this;
    return { key: this.lines.join("\n"), regions, reads, epilogueReads, stores, kept };
  }

  private piece(piece: FusedKernel): void {
    const { group, stores, axes, kind, reads } = piece;
    this.group = group;
    this.ownReads = reads;
    this.numbers.clear();
    this.lines.push(kind, axes.map((a) => `${a.name}=${a.size}`).join());
    for (const core of group?.cores ?? []) this.visit(core);
    for (const store of stores) {
      const place = this.placeOf(store.to, store.value);
      this.stores.set(store, place);
      this.lines.push(`store ${this.visit(store.value)} to ${this.text(place)} ${this.envText(store.value)}`);
    }
    if (group) this.lines.push([...group.names].map(([name, index]) => `${name}:${keyOf(index)}`).join());
  }

  private prologue({ kind, group, reads, stores }: FusedKernel): void {
    this.group = group;
    this.ownReads = reads;
    this.numbers.clear();
    this.lines.push(`prologue ${kind}`);
    for (const core of group!.cores) this.visit(core);
    for (const { value } of stores) {
      this.lines.push(`keep ${this.kept.size} ${this.visit(value)} ${this.envText(value)}`);
      this.kept.add(value);
    }
    this.lines.push([...group!.names].map(([name, index]) => `${name}:${keyOf(index)}`).join());
  }

  private envText(node: Node): string {
    const env = this.places.get(node)?.env;
    return env ? node.type.axes.map((a) => (env.has(a.name) ? keyOf(env.get(a.name)!) : "-")).join() : "";
  }

  private text({ region, shift }: Place): string {
    const start = shift?.start ? `:${this.visit(shift.start)}` : "";
    return shift ? `${region}+${shift.axis}:${shift.offset}${start}` : `${region}`;
  }

  private visit(node: Node): number {
    const known = this.numbers.get(node);
    if (known !== undefined) return known;
    const isRead = this.kernel.reads.has(node) || this.ownReads.has(node);
    const line = isRead ? this.readLine(node) : this.kept.has(node) ? this.keptLine(node) : this.nodeLine(node);
    const number = this.numbers.size;
    this.numbers.set(node, number);
    this.lines.push(line);
    return number;
  }

  private keptLine(node: Node): string {
    return `kept ${[...this.kept].indexOf(node)} ${typeKey(node.type)}`;
  }

  private readLine(node: Node): string {
    const place = this.placeOf(this.storageOf(node), node);
    (this.kernel.reads.has(node) ? this.reads : this.epilogueReads).set(node, place);
    return `read ${this.text(place)} ${typeKey(node.type)}`;
  }

  private nodeLine(node: Node): string {
    const operands = node.operands.map((o) => this.visit(o));
    const { group } = this;
    const place = this.places.get(node)!;
    const own = group && place.group === group ? `own ${this.envText(node)}` : "";
    const late = group && place.ready >= group.position ? "late" : "";
    return `${node.op}(${operands}) ${attrKey(node.attrs)} ${typeKey(node.type)} ${own} ${late}`;
  }

  /** Whether a value is a part along its root's leading axis whose start is aligned for a binding. */
  private standsAlone({ root, part }: Storage): boolean {
    if (!part || part.start || root.type.axes[0]!.name !== part.axis) return false;
    const start = startOf(root, part.offset);
    const bytes = root.type.dtype === "f16" ? 2 : 4;
    return typeof start === "number" && (start * bytes) % this.alignment === 0;
  }

  /** A part that can be bound by itself gets its own region. */
  private placeOf(storage: Storage, value: Node): Place {
    const { root, part } = storage;
    if (!part || !this.standsAlone(storage) || this.undivided.has(root)) {
      return { region: this.region(root, 0, root.type.axes), ...(part && { shift: part }) };
    }
    const [leading, ...rest] = root.type.axes;
    const size = value.type.axes.find((a) => a.name === leading!.name)!.size;
    return { region: this.region(root, startOf(root, part.offset) as number, [{ name: part.axis, size }, ...rest]) };
  }

  private region(root: Node, start: number, axes: readonly Axis[]): number {
    const rootId = this.rootIds.get(root) ?? this.rootIds.size;
    this.rootIds.set(root, rootId);
    const key = `${rootId}@${start}:${axes[0]?.size}`;
    let id = this.regionIds.get(key);
    if (id === undefined) {
      id = this.regions.length;
      this.regionIds.set(key, id);
      this.regions.push({ root, start, axes });
      // Whether the kernel may update the region in place affects the order of loads and stores.
      const state = sourceOf(root) === "input" || isParameter(root) ? "state" : "";
      this.lines.push(`region ${id} ${root.type.dtype}${axes.map((a) => `${a.name}=${a.size}`)} ${state}`);
    }
    return id;
  }
}

/** The offset of the first element of a part along a tensor's leading axis. */
const startOf = (root: Node, offset: Dim): Dim => mulDims(offset, spanOf(root.type.axes.slice(1)));

/** The shape of a kernel; `alignment` is the alignment of binding offsets, in bytes. */
export const kernelShape = (
  kernel: FusedKernel,
  storage: ReadonlyMap<Node, Storage>,
  places: Placement,
  alignment: number,
): KernelShape => new ShapeWalk(kernel, storage, places, alignment).run();
