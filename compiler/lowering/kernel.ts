/** What all lowerings share: the kernel being made, its threads, and the binding of tensors to buffers. */
import { UnsupportedError } from "../diagnostics/error.ts";
import { dimExpr, type Env, span } from "../fusion/access.ts";
import type { FusedKernel, Store } from "../fusion/demand.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import { isGraphInput } from "../ir/graph.ts";
import type { Axis } from "../ir/type.ts";
import {
  cast,
  children,
  type Expr,
  int,
  type Range,
  rangeOf,
  type Var,
  variable,
  withChildren,
} from "../kernel/expr.ts";
import { hoist } from "../kernel/hoist.ts";
import { type BufferParam, expressions, type Kernel, mapExpressions, type Stmt } from "../kernel/kernel.ts";
import { add, div, lt, mod, mul, sub } from "../kernel/simplify.ts";
import { vectorize } from "../kernel/vectorize.ts";
import type { KernelShape, Region } from "./kernel-shape.ts";
import type { Schedule } from "./schedule.ts";
import { regionName, Values } from "./values.ts";

/** A range of elements of a region, as one buffer of a kernel. */
export interface Binding {
  readonly region: number;
  /** The first element; a multiple of the adapter's alignment. */
  readonly start: number;
  readonly length: number;
}

/** A kernel with what it is bound to, in the order of its buffers. */
export interface LoweredKernel {
  readonly kernel: Kernel;
  readonly bindings: readonly Binding[];
}

/** Makes names that are unique within one kernel. */
export class Names {
  private next = 0;
  fresh(prefix: string): string {
    return `${prefix}${this.next++}`;
  }
}

export class Lowering {
  readonly fused: FusedKernel;
  readonly schedule: Schedule;
  readonly shape: KernelShape;
  readonly values: Values;
  readonly names = new Names();

  constructor(fused: FusedKernel, shape: KernelShape, schedule: Schedule) {
    this.fused = fused;
    this.schedule = schedule;
    this.shape = shape;
    const states = [...shape.stores.values()].map((p) => p.region).filter((r) => isGraphInput(shape.regions[r]!.root));
    this.values = new Values(shape, new Set(states));
  }

  /** The buffer that a store goes to, by the name of its region, and the address in it. */
  target(store: Store, env: Env): { buffer: string; index: Expr } {
    const place = this.shape.stores.get(store)!;
    return { buffer: regionName(place.region), index: this.values.addressAt(place, env) };
  }

  let(prefix: string, value: Expr): { target: Var; stmt: Stmt } {
    const target = variable(this.names.fresh(prefix), value.dtype, rangeOf(value));
    return { target, stmt: { kind: "let", target, value } };
  }

  /** Stores of values at an env, after everything that they load of tensors that are written. */
  stores(items: readonly { readonly store: Store; readonly env: Env }[]): Stmt[] {
    const lets: Stmt[] = [];
    const stores: Stmt[] = items.map(({ store, env }) => {
      const value = this.values.at(store.value, env);
      const { target, stmt } = this.let("v", cast(value, store.value.type.dtype));
      lets.push(...this.values.takeEarly(), stmt);
      return { kind: "store", ...this.target(store, env), value: target };
    });
    return [...lets, ...stores];
  }

  /** One thread for each of `count` items: the item's index, and the body guarded where threads are left over. */
  perThread(
    count: number,
    body: (item: Expr) => Stmt[],
    threads = this.schedule.threads,
  ): Pick<Kernel, "body" | "grid" | "workgroup"> {
    const groups = Math.ceil(count / threads);
    const { grid, workgroup } = this.grid(groups);
    const item = add(mul(workgroup, int(threads)), variable("lid", "i32", { min: 0, max: threads - 1 }));
    const target = variable(this.names.fresh("i"), "i32", { min: 0, max: count - 1 });
    // The bound on the variable holds inside the guard, where everything that uses it is.
    const stmt: Stmt = { kind: "let", target, value: item };
    const guard = lt(item, int(count));
    const inner = body(target);
    const guarded: Stmt[] =
      guard.kind === "const" ? inner : [{ kind: "if", condition: lt0(target, count), body: inner }];
    return { body: [stmt, ...guarded], grid, workgroup: [threads, 1, 1] };
  }

  /** Workgroups in one line, folded into two dimensions where one is too short. */
  grid(groups: number): { grid: readonly [Expr, Expr, Expr]; workgroup: Expr } {
    const most = this.schedule.facts.maxWorkgroupsPerDimension;
    const rows = Math.ceil(groups / most);
    const width = Math.ceil(groups / rows);
    const x = variable("wid_x", "i32", { min: 0, max: width - 1 });
    if (rows === 1) return { grid: [int(groups), int(1), int(1)], workgroup: x };
    const y = variable("wid_y", "i32", { min: 0, max: rows - 1 });
    return { grid: [int(width), int(rows), int(1)], workgroup: add(mul(y, int(width)), x) };
  }

  finish(
    kind: Kernel["kind"],
    shape: Pick<Kernel, "body" | "grid" | "workgroup"> & { readonly arrays?: Kernel["arrays"] },
  ): LoweredKernel {
    const { body, buffers, bindings } = bindBuffers(shape.body, this.shape, this.schedule);
    const kernel: Kernel = {
      name: kernelName(this.fused),
      kind,
      buffers,
      arrays: shape.arrays ?? [],
      workgroup: shape.workgroup,
      grid: shape.grid,
      sizes: [],
      body,
    };
    return { kernel: hoist(vectorize(kernel)), bindings };
  }
}

/** The comparison itself, even where the variable's bound makes it seem needless. */
const lt0 = (v: Var, count: number): Expr => ({ kind: "compare", dtype: "bool", op: "lt", a: v, b: int(count) });

/** The module path of a kernel's first result and the op it ends in. */
export function kernelName(fused: FusedKernel): string {
  const core = fused.group?.cores[0];
  const last = fused.stores.at(-1)!.value;
  const ops = core && core !== last ? `${core.op}+${last.op}` : last.op;
  const path = (core ?? last).path;
  return path ? `${path}/${ops}` : ops;
}

/** A flat index as one index for each axis, slowest axis first. */
export function unflatten(flat: Expr, axes: readonly Axis[]): Map<string, Expr> {
  const env = new Map<string, Expr>();
  let rest = flat;
  for (const axis of [...axes].reverse()) {
    const size = dimExpr(axis.size);
    const first = axis === axes[0];
    env.set(axis.name, first ? rest : mod(rest, size));
    if (!first) rest = div(rest, size);
  }
  return env;
}

interface Access {
  readonly root: string;
  readonly range: Range;
}

/** Gives each range of a tensor that the body touches a buffer; ranges that overlap share one. */
function bindBuffers(body: readonly Stmt[], shape: KernelShape, schedule: Schedule) {
  // A buffer is bound read-write as a whole or not at all: WebGPU allows no mix of both within one dispatch.
  const writtenRoots = new Set([...shape.stores.values()].map((p) => shape.regions[p.region]!.root));
  const ranges = new Map<string, Range[]>();
  const seen = new Set<Expr>();
  const note = (root: string, index: Expr) => {
    const list = ranges.get(root) ?? [];
    list.push(rangeOf(index));
    ranges.set(root, list);
  };
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    if (e.kind === "load") note(e.buffer, e.index);
    for (const c of children(e)) visit(c);
  };
  const visitAll = (stmts: readonly Stmt[]): void => {
    for (const s of stmts) {
      for (const e of expressions(s)) visit(e);
      if (s.kind === "store") note(s.buffer, s.index);
      if (s.kind === "for" || s.kind === "if") visitAll(s.body);
    }
  };
  visitAll(body);
  const regionOf = (name: string) => shape.regions[Number(name.slice(1))]!;
  let clusters = [...ranges].flatMap(([root, list]) => clustersOf(root, list, regionOf(root), schedule));
  if (clusters.length > schedule.facts.maxBindings) {
    clusters = [...ranges].map(([root]) => ({ root, range: { min: 0, max: span(regionOf(root).axes) - 1 } }));
  }
  if (clusters.length > schedule.facts.maxBindings) {
    throw new UnsupportedError(
      `a kernel needs ${clusters.length} storage buffers, and the adapter grants ${schedule.facts.maxBindings} to one: take a device that grants ${clusters.length} (maxStorageBuffersPerShaderStage)`,
    );
  }
  const buffers: BufferParam[] = clusters.map((c, i) => ({
    name: `b${i}`,
    dtype: regionOf(c.root).root.type.dtype,
    access: writtenRoots.has(regionOf(c.root).root) ? "read_write" : "read",
    size: int(c.range.max - c.range.min + 1),
  }));
  const bindings: Binding[] = clusters.map((c) => ({
    region: Number(c.root.slice(1)),
    start: c.range.min,
    length: c.range.max - c.range.min + 1,
  }));
  const place = (root: string, index: Expr) => {
    const r = rangeOf(index);
    const at = clusters.findIndex((c) => c.root === root && c.range.min <= Math.max(0, r.min) && r.max <= c.range.max);
    const cluster = at >= 0 ? at : clusters.findIndex((c) => c.root === root);
    return { buffer: `b${cluster}`, index: sub(index, int(clusters[cluster]!.range.min)) };
  };
  const memo = new Map<Expr, Expr>();
  const rewrite = (e: Expr): Expr => {
    const known = memo.get(e);
    if (known) return known;
    const before = children(e);
    const after = before.map(rewrite);
    let result = after.every((c, i) => c === before[i]) ? e : withChildren(e, after);
    if (result.kind === "load") result = { ...result, ...place(result.buffer, result.index) };
    memo.set(e, result);
    return result;
  };
  const rewriteAll = (stmts: readonly Stmt[]): Stmt[] =>
    stmts.map((s) => {
      const mapped = mapExpressions(s, rewrite);
      if (mapped.kind === "store") return { ...mapped, ...place(mapped.buffer, mapped.index) };
      return mapped.kind === "for" || mapped.kind === "if" ? { ...mapped, body: rewriteAll(mapped.body) } : mapped;
    });
  return { body: rewriteAll(body), buffers, bindings };
}

/** Joins overlapping ranges of one tensor; each begins where a binding may begin. */
function clustersOf(root: string, ranges: readonly Range[], region: Region, schedule: Schedule): Access[] {
  const elements = span(region.axes);
  const { dtype } = region.root.type;
  const bytes = dtype === "bool" ? 4 : dtypeBytes[dtype];
  const step = schedule.facts.bindingAlignment / bytes;
  const sorted = ranges
    .map((r) => ({ min: Math.floor(Math.max(0, r.min) / step) * step, max: Math.min(elements - 1, r.max) }))
    .sort((a, b) => a.min - b.min);
  const out: Range[] = [];
  for (const r of sorted) {
    const last = out.at(-1);
    if (last && r.min <= last.max) out[out.length - 1] = { min: last.min, max: Math.max(last.max, r.max) };
    else out.push(r);
  }
  return out.map((range) => ({ root, range }));
}
