/**
 * Finds the fusion groups of a graph: places each node in the group at whose coordinates it can be computed. What is
 * materialized, and what consumers recompute in their prologues, is decided later (materialize.ts).
 *
 * Groups are numbered in an order in which they can run. `ready` of a node is the last group that it depends on,
 * looking through elementwise nodes, so nodes of one group never wait for one another through memory.
 */
import type { Node } from "../ir/node.ts";
import {
  type AttentionCore,
  coreOf,
  foldOf,
  isAffine,
  isBijective,
  isConcatenation,
  isElementwise,
  isParameter,
  operandNamed,
  opRecord,
  sourceOf,
} from "../ir/op.ts";
import { type Axis, findAxis } from "../ir/type.ts";
import type { Expr, KernelKind } from "../kernel/index.ts";
import { type Env, operandEnv, restrict, resultEnv, sameEnv } from "./access.ts";
import { coordinates, coversOnce, fewRows, matchAxes, sameSpace } from "./coordinates.ts";
import { attentionRows, fewRowsOf, isCore, isRowReduction, kindOf, readsInLoop, reducedAxes, rowsOf } from "./cores.ts";
import type { Group, Place, Placement } from "./groups.ts";
import { indexOver, typicalSpan } from "./sizes.ts";

const sourceKind = (node: Node) => opRecord(node.op).kind === "source";

/** Limits on the cores of a row reduction group and the tensors that they read, so that bindings fit every adapter. */
const maxSiblings = 6;
const maxLeaves = 5;

/** Products per kernel: with more, register pressure outweighs the loads that they share. */
const maxProducts = 3;

type Users = ReadonlyMap<Node, readonly Node[]>;

/** The users of each node. */
export function usersOf(nodes: readonly Node[]): Users {
  const users = new Map<Node, Node[]>(nodes.map((n) => [n, []]));
  for (const node of nodes) for (const o of new Set(node.operands)) users.get(o)!.push(node);
  return users;
}

class Placer {
  private readonly users: Users;
  readonly places = new Map<Node, Place>();
  readonly groups: Group[] = [];
  private readonly bySource = new Map<Node, Group[]>();
  private readonly attentions = new Map<string, Group>();
  /** Groups of products with few rows, by the operand that has the few rows. */
  private readonly products = new Map<Node, Group[]>();
  private readonly numbers = new Map<Node, number>();

  constructor(users: Users) {
    this.users = users;
  }

  place(node: Node): void {
    this.numbers.set(node, this.numbers.size);
    if (sourceKind(node)) this.places.set(node, { ready: -1, level: 0 });
    else if (isCore(node)) this.placeCore(node);
    else if (isElementwise(node)) this.placeElementwise(node);
    else if (isBijective(node)) this.placeBijective(node);
    else this.places.set(node, this.free(node));
  }

  private at(node: Node): Place {
    return this.places.get(node)!;
  }

  private readyOf(operands: readonly Node[]): number {
    return operands.reduce((p, o) => Math.max(p, this.at(o).ready), -1);
  }

  private placeBijective(node: Node): void {
    const operand = this.at(node.operands[0]!);
    if (operand.group && operand.env && operand.group.kind !== "indexing")
      this.places.set(node, { ...operand, env: resultEnv(node, operand.env) });
    else this.places.set(node, this.free(node));
  }

  /** The place of a node that is not computed at any group's coordinates. */
  private free(node: Node): Place {
    const ready = this.readyOf(node.operands);
    let level = 0;
    for (const operand of node.operands) {
      const place = this.at(operand);
      if (place.ready !== ready || place.group || sourceKind(operand)) continue;
      // A concatenation is read from memory, after the kernels of its parts wrote it.
      const aligned =
        (isElementwise(node) || isBijective(node)) && !isConcatenation(operand) && sameSpace(operand, node);
      level = Math.max(level, place.level + (aligned ? 0 : 1));
    }
    return { ready, level };
  }

  private placeElementwise(node: Node): void {
    const ready = this.readyOf(node.operands);
    const group = this.groups[ready];
    const env = group && group.kind !== "indexing" ? this.envIn(node, group) : undefined;
    if (group && env && node.operands.every((o) => this.aligned(o, restrict(env, o), group))) {
      const continues = (o: Node) => this.users.get(o)!.length === 1 && this.at(o).group === group && this.at(o).chain;
      this.places.set(node, { ready, group, env, level: 0, ...(node.operands.some(continues) && { chain: true }) });
    } else this.places.set(node, this.free(node));
  }

  /** The coordinates of a group at which an elementwise node can be computed, if they cover all its axes. */
  private envIn(node: Node, group: Group): Env | undefined {
    const env = new Map<string, Expr>();
    for (const operand of node.operands) {
      const place = this.at(operand);
      if (place.group === group) for (const [name, index] of place.env!) if (!env.has(name)) env.set(name, index);
    }
    for (const { name, size } of node.type.axes) {
      if (fewRows(group) && group.reduced.some((c) => c.index === (env.get(name) ?? group.names.get(name))))
        return undefined;
      if (env.has(name)) continue;
      const known = group.names.get(name);
      const coordinate = known && [...group.rows, ...group.reduced].find((c) => c.index === known);
      if (!known || coordinate?.axis.size !== size) return undefined;
      env.set(name, known);
    }
    return coversOnce(env, node, group) ? restrict(env, node) : undefined;
  }

  /** Whether a kernel of the group can evaluate the node at `env` from the thread's own elements of its values only. */
  private aligned(node: Node, env: Env, group: Group): boolean {
    const place = this.at(node);
    if (place.ready < group.position) return true;
    if (place.ready > group.position) return false;
    if (place.group === group && sameEnv(place.env!, env, node)) return true;
    // Such a node may not be a result of a kernel with few rows (envIn), but it may be an expression inside one.
    if (isElementwise(node) && !place.group)
      return node.operands.every((o) => this.aligned(o, restrict(env, o), group));
    if (!isAffine(node)) return false;
    return this.aligned(node.operands[0]!, operandEnv(node, env), group);
  }

  private placeCore(node: Node): void {
    if (isRowReduction(node)) this.placeReduction(node);
    else if (kindOf(node) === "attention") this.placeAttention(node);
    else this.addTo(this.besideProducts(node) ?? this.open(kindOf(node)!, node.type.axes, []), node);
  }

  /** The group for a product with few rows: shared with products of the same rows whose results have the same axes. */
  private besideProducts(node: Node): Group | undefined {
    const few = fewRowsOf(node);
    if (!few) return undefined;
    const over = (n: Node) => [...foldOf(n)!.over(n.attrs)].sort().join();
    const siblings = this.products.get(few) ?? [];
    const known = siblings.find(
      ({ cores, position, rows }) =>
        cores.length < maxProducts &&
        this.readyOf(node.operands) < position &&
        over(cores[0]!) === over(node) &&
        cores[0]!.operands.indexOf(few) === node.operands.indexOf(few) &&
        rows.length === node.type.axes.length &&
        rows.every(({ axis }) => findAxis(node.type, axis.name)?.size === axis.size),
    );
    if (known) return known;
    const group = this.open("contraction", node.type.axes, []);
    this.products.set(few, [...siblings, group]);
    return group;
  }

  private open(kind: KernelKind, rows: readonly Axis[], reduced: readonly Axis[]): Group {
    const group: Group = {
      kind,
      position: this.groups.length,
      cores: [],
      rows: coordinates(rows, "c"),
      reduced: coordinates(reduced, "r"),
      names: new Map(),
      extents: new Map(),
      sources: new Set(),
      leaves: new Set(),
    };
    for (const c of [...group.rows, ...group.reduced]) {
      group.names.set(c.axis.name, c.index);
      group.extents.set(c.index.name, c.axis.size);
    }
    this.groups.push(group);
    return group;
  }

  private addTo(group: Group, node: Node): void {
    group.cores.push(node);
    const env = restrict(group.names, node);
    this.places.set(node, { ready: group.position, group, env, level: 0, ...(readsInLoop(node) && { chain: true }) });
  }

  /** Attention nodes with the same rows and operands share a kernel: the result with its statistics, dk with dv. */
  private placeAttention(node: Node): void {
    const rows = attentionRows(node);
    const { pass } = coreOf(node) as AttentionCore;
    // The forward result and its statistics share q, k, bias and mask; only the result reads v.
    const operands = pass === "forward" ? ["q", "k", "bias", "mask"].map((n) => operandNamed(node, n)) : node.operands;
    const ids = operands.map((o) => o && this.numbers.get(o));
    const names = rows.map((a) => `${a.name}=${a.size}`).sort(); // results may order their rows differently
    const key = `${pass}(${ids})${names}${node.attrs.dot}${node.attrs.scale}/${node.attrs.softcap}`;
    const known = this.attentions.get(key);
    const group = known && this.readyOf(node.operands) < known.position ? known : this.open("attention", rows, []);
    this.attentions.set(key, group);
    const widths = node.type.axes.filter((a) => !rows.some((r) => r.name === a.name));
    for (const [i, axis] of widths.entries()) {
      const index = indexOver(`w${i}`, axis.size);
      group.names.set(axis.name, index);
      group.extents.set(index.name, axis.size);
    }
    this.addTo(group, node);
  }

  private placeReduction(node: Node): void {
    const over = reducedAxes(node);
    const ready = this.readyOf(node.operands);
    const { sources, leaves } = this.leavesOf(node);
    const siblings = sources.flatMap((s) => this.bySource.get(s) ?? []);
    const candidates = new Set([...(this.groups[ready] ? [this.groups[ready]] : []), ...siblings]);
    for (const group of candidates)
      if (this.joins(node, group, over, ready, leaves)) {
        this.note(group, sources, leaves);
        return;
      }
    const group = this.open("row_reduction", rowsOf(node), over);
    this.addTo(group, node);
    this.note(group, sources, leaves);
  }

  private joins(node: Node, group: Group, over: readonly Axis[], ready: number, leaves: ReadonlySet<Node>): boolean {
    if (group.kind !== "row_reduction" || group.position < ready || group.cores.length >= maxSiblings) return false;
    const names = matchAxes(group, node.type.axes, over);
    if (!names || !node.operands.every((o) => this.aligned(o, restrict(names, o), group))) return false;
    if (new Set([...group.leaves, ...leaves]).size > maxLeaves) return false;
    for (const [name, index] of names) group.names.set(name, index);
    this.addTo(group, node);
    return true;
  }

  private note(group: Group, sources: readonly Node[], leaves: ReadonlySet<Node>): void {
    for (const leaf of leaves) if (this.at(leaf).group !== group) group.leaves.add(leaf);
    for (const s of sources) {
      if (group.sources.has(s)) continue;
      group.sources.add(s);
      const list = this.bySource.get(s);
      if (list) list.push(group);
      else this.bySource.set(s, [group]);
    }
  }

  /** The tensors that a core reads, looking through other nodes; `sources` are those larger than the core's result. */
  private leavesOf(node: Node): { sources: Node[]; leaves: Set<Node> } {
    const leaves = new Set<Node>();
    const seen = new Set<Node>();
    const least = typicalSpan(node.type.axes);
    const stack = [...node.operands];
    for (let budget = 64; stack.length > 0 && budget > 0; budget--) {
      const n = stack.pop()!;
      if (seen.has(n)) continue;
      seen.add(n);
      if (isCore(n) || sourceOf(n) === "input" || isParameter(n) || this.at(n).chain) leaves.add(n);
      else stack.push(...n.operands);
    }
    return { sources: [...leaves].filter((n) => typicalSpan(n.type.axes) > least), leaves };
  }
}

/** Places every node of a graph, given in topological order. */
export function placeNodes(nodes: readonly Node[]): { places: Placement; groups: readonly Group[] } {
  const placer = new Placer(usersOf(nodes));
  for (const node of nodes) placer.place(node);
  return { places: placer.places, groups: placer.groups };
}
