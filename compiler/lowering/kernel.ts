/** What all schedules share: the kernel under construction and its thread mapping. */
import {
  dimExpr,
  type Env,
  type FusedKernel,
  isOne,
  kernelName,
  type Placement,
  type Store,
  settled,
} from "../fusion/index.ts";
import { isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isBijective } from "../ir/op.ts";
import type { Axis } from "../ir/type.ts";
import {
  cast,
  type Expr,
  int,
  type Kernel,
  keyOf,
  rangeOf,
  type Stmt,
  sizesOf,
  type Var,
  variable,
  variableFor,
} from "../kernel/index.ts";
import { add, div, lt, min, mod, mul } from "../kernel/simplify.ts";
import { type Binding, bindBuffers } from "./bindings.ts";
import { type Coordinates, envAt } from "./coordinates.ts";
import type { AdapterFacts } from "./facts.ts";
import type { KernelShape } from "./kernel-shape.ts";
import { regionName, Values } from "./values.ts";

/** The code that a schedule generates; its loads and stores name regions, not buffers yet. */
export type KernelCode = Pick<Kernel, "body" | "grid" | "workgroup"> &
  Partial<Pick<Kernel, "arrays" | "fragments" | "subgroupSize">>;

/** A kernel and its bindings, in the order of its buffers. */
export interface LoweredKernel {
  readonly kernel: Kernel;
  readonly bindings: readonly Binding[];
}

/** Makes names that are unique within one kernel. */
export class Names {
  private next = 0;
  private readonly taken = new Set<string>();
  fresh(prefix: string): string {
    return `${prefix}${this.next++}`;
  }

  /** The name itself if it is still free, otherwise a fresh one. */
  once(name: string): string {
    if (this.taken.has(name)) return this.fresh(name);
    this.taken.add(name);
    return name;
  }
}

/** One kernel being lowered: its fused nodes, its values as expressions, its names. */
export class Lowering {
  readonly fused: FusedKernel;
  readonly facts: AdapterFacts;
  readonly shape: KernelShape;
  readonly places: Placement;
  readonly values: Values;
  readonly names: Names;
  /** Reductions of the rows that this kernel writes, run by its workgroups as an epilogue. */
  readonly epilogues: readonly Lowering[];
  /** Reductions of segments of the rows that this kernel reads, run by its workgroups as a prologue. */
  readonly prologues: readonly Lowering[];
  /** Set where values are kept in workgroup memory instead of stored: the array element for each value. */
  keepsAt: ((value: Node) => { readonly array: string; readonly index: Expr }) | undefined;

  /** `names` are shared with the kernel that this piece is emitted into. */
  constructor(
    fused: FusedKernel,
    shape: KernelShape,
    places: Placement,
    facts: AdapterFacts,
    names = new Names(),
    epilogues: readonly FusedKernel[] = [],
    isPrologue = false,
  ) {
    const prologues = isPrologue ? [] : (fused.prologues ?? []);
    this.prologues = prologues.map((p) => new Lowering(p, shape, places, facts, names, [], true));
    this.epilogues = epilogues.map(
      (e) => new Lowering(e, { ...shape, reads: shape.epilogueReads }, places, facts, names),
    );
    this.fused = fused;
    this.names = names;
    this.facts = facts;
    this.shape = shape;
    this.places = places;
    const states = [...shape.stores.values()].map((p) => p.region).filter((r) => isGraphInput(shape.regions[r]!.root));
    this.values = new Values(shape, new Set(states), !isPrologue);
  }

  /** A store, guarded if its element may lie outside the tensor. */
  private guardedStore(store: Store, env: Env, value: Expr): Stmt {
    if (this.keepsAt) return { kind: "set", ...this.keepsAt(store.value), value };
    const stmt: Stmt = { kind: "store", ...this.target(store, env), value };
    const inside = this.values.insideAt(this.shape.stores.get(store)!, settled(env, store.value));
    return inside ? { kind: "if", condition: inside, body: [stmt] } : stmt;
  }

  /** The buffer (by region name) that a store writes, and the address within it. */
  target(store: Store, env: Env): { buffer: string; index: Expr } {
    const place = this.shape.stores.get(store)!;
    return { buffer: regionName(place.region), index: this.values.addressAt(place, settled(env, store.value)) };
  }

  let(prefix: string, value: Expr): { target: Var; stmt: Stmt } {
    const target = variableFor(this.names.fresh(prefix), value);
    return { target, stmt: { kind: "let", target, value } };
  }

  /** Stores of values of the kernel's group at the given coordinates. */
  storesAt(stores: readonly Store[], at: Coordinates): Stmt[] {
    const seen = new Set<Node>();
    for (const { value } of stores) this.bindMoved(value, at, seen);
    return this.stores(stores.map((store) => ({ store, env: envAt(store.value, this.places, at) })));
  }

  /**
   * Binds each bijective movement within the group (such as a transpose) to its operand's value at the corresponding
   * index. The two indices are equal by construction, which index simplification cannot always prove when sizes are
   * open.
   */
  bindMoved(node: Node, at: Coordinates, seen: Set<Node>): void {
    const { group } = this.fused;
    if (seen.has(node) || this.places.get(node)!.group !== group || this.shape.reads.has(node)) return;
    seen.add(node);
    for (const operand of node.operands) this.bindMoved(operand, at, seen);
    const [x] = node.operands;
    if (!isBijective(node) || this.places.get(x!)!.group !== group) return;
    this.values.bind(node, envAt(node, this.places, at), this.values.at(x!, envAt(x!, this.places, at)));
  }

  /** Stores of values at an env, preceded by all of their loads from tensors that the kernel also writes. */
  stores(items: readonly { readonly store: Store; readonly env: Env }[]): Stmt[] {
    const lets: Stmt[] = [];
    const stores = items.map(({ store, env }): Stmt => {
      const value = this.values.at(store.value, env);
      const { target, stmt } = this.let("v", this.keepsAt ? value : cast(value, store.value.type.dtype));
      lets.push(...this.values.takeEarly(), stmt);
      return this.guardedStore(store, env, target);
    });
    return [...lets, ...stores.reduce(joinedIf, [])];
  }

  /** One thread per item: the body gets the item's index and is guarded if the last workgroup has surplus threads. */
  perThread(count: Expr, threads: number, body: (item: Expr) => Stmt[]): KernelCode {
    const { grid, workgroup } = this.grid(ceilDiv(count, threads));
    const item = add(mul(workgroup, int(threads)), variable("lid", "i32", { min: 0, max: threads - 1 }));
    return { body: guarded(this.names.fresh("i"), item, count, body), grid, workgroup: [threads, 1, 1] };
  }

  /** One workgroup per item: the body gets the item's index and is guarded if the grid may have surplus workgroups. */
  perWorkgroup(count: Expr, threads: number, body: (item: Expr, lane: Expr) => Stmt[]): KernelCode {
    const { grid, workgroup } = this.grid(count);
    const lane = variable("lid", "i32", { min: 0, max: threads - 1 });
    const all = guarded(this.names.once("row"), workgroup, count, (item) => body(item, lane));
    return { body: all, grid, workgroup: [threads, 1, 1] };
  }

  /** A one-dimensional grid, folded into two dimensions if it does, or may, exceed the limit of one dimension. */
  private grid(groups: Expr): { grid: readonly [Expr, Expr, Expr]; workgroup: Expr } {
    const most = this.facts.maxWorkgroupsPerDimension;
    const x = (max: number) => variable("wid_x", "i32", { min: 0, max });
    const { max } = rangeOf(groups);
    if (max <= most) return { grid: [groups, int(1), int(1)], workgroup: x(max - 1) };
    const y = variable("wid_y", "i32", { min: 0, max: Math.ceil(max / most) - 1 });
    if (groups.kind === "const") {
      const rows = Math.ceil(groups.value / most);
      const width = Math.ceil(groups.value / rows);
      return { grid: [int(width), int(rows), int(1)], workgroup: add(mul(y, int(width)), x(width - 1)) };
    }
    const width = min(groups, int(most));
    return { grid: [width, ceilDiv(groups, most), int(1)], workgroup: add(mul(y, width), x(most - 1)) };
  }

  /** The kernel for this code, bound to its buffers. `symbols` are the open sizes of the whole program. */
  finish(code: KernelCode, symbols: readonly string[]): LoweredKernel {
    const { body, buffers, bindings } = bindBuffers(code.body, this.shape, this.facts);
    const kernel: Kernel = {
      name: kernelName(this.fused),
      kind: this.fused.kind,
      ...code,
      buffers,
      arrays: code.arrays ?? [],
      sizes: sizesOf({ body, buffers, grid: code.grid }).size > 0 ? symbols : [],
      body,
    };
    return { kernel, bindings };
  }
}

/** Appends a statement, merging it into a preceding `if` of the same condition: adjacent stores stay together. */
function joinedIf(before: readonly Stmt[], stmt: Stmt): Stmt[] {
  const last = before.at(-1);
  if (stmt.kind !== "if" || last?.kind !== "if" || keyOf(last.condition) !== keyOf(stmt.condition))
    return [...before, stmt];
  return [...before.slice(0, -1), { ...last, body: [...last.body, ...stmt.body] }];
}

/** The number of workgroups, or tiles, of `each` items that cover `count` items. */
export const ceilDiv = (count: Expr, each: number): Expr =>
  count.kind === "const" ? int(Math.ceil(count.value / each)) : div(add(count, int(each - 1)), int(each));

/** An index variable with the range 0 .. count - 1. */
const indexBelow = (name: string, count: Expr): Var =>
  variable(name, "i32", { min: 0, max: Math.max(0, rangeOf(count).max - 1) });

/** The body for one item, whose index is bound to a name; guarded unless the index is known to be below `count`. */
export function guarded(name: string, index: Expr, count: Expr, body: (item: Expr) => Stmt[]): Stmt[] {
  // The variable's bound holds only inside the guard, which encloses all of its uses.
  const target = indexBelow(name, count);
  const inner = body(target);
  const full = lt(index, count).kind === "const";
  return [
    { kind: "let", target, value: index },
    ...(full ? inner : [{ kind: "if", condition: below(target, count), body: inner } as Stmt]),
  ];
}

/** The comparison itself, unsimplified: the variable's declared bound would fold it to true. */
const below = (v: Var, count: Expr): Expr => ({ kind: "compare", dtype: "bool", op: "lt", a: v, b: count });

/** A flat index as one index per axis; the slowest axis comes first. */
export function unflatten(flat: Expr, axes: readonly Axis[]): Map<string, Expr> {
  const env = new Map<string, Expr>();
  // Axes of size 1 are skipped, so that the first remaining axis needs no modulo.
  const first = axes.find((a) => !isOne(a.size));
  let rest = flat;
  for (const axis of [...axes].reverse()) {
    if (isOne(axis.size) || axis === first) env.set(axis.name, axis === first ? rest : int(0));
    else {
      const size = dimExpr(axis.size);
      env.set(axis.name, mod(rest, size));
      rest = div(rest, size);
    }
  }
  return env;
}
