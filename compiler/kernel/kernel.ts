/** Kernels: the buffers, grid and statements of one dispatch. */
import type { DType } from "../ir/dtype.ts";
import type { Expr, Var, Width } from "./expr.ts";

export const kernelKinds = ["contraction", "attention", "row_reduction", "elementwise", "indexing"] as const;
export type KernelKind = (typeof kernelKinds)[number];

/** A storage buffer, named `b0`, `b1` ... in order of binding, so that equal kernels have equal text. */
export interface BufferParam {
  readonly name: string;
  readonly dtype: DType;
  readonly access: "read" | "read_write";
  /** Elements the kernel may address. */
  readonly size: Expr;
  /**
   * A lower bound on the elements bound in every run, if `size` is symbolic. It becomes the array length in the WGSL
   * type: clamping accesses against a static length is cheaper than against a run-time one.
   */
  readonly reserved?: number;
  /** Elements per access; default 1. Indices count accesses. */
  readonly width?: Width;
}

/** Private memory of a thread, or shared memory of a workgroup. Initially zero. */
export interface ArrayDecl {
  readonly name: string;
  readonly dtype: DType;
  /** In elements. */
  readonly length: number;
  /** Elements per access; default 1. Indices count accesses. */
  readonly width?: Width;
  readonly space: "private" | "workgroup";
}

/** The role of a fragment in result [m, n] += left [m, k] × right [k, n]. */
export const fragmentRoles = ["left", "right", "result"] as const;
export type FragmentRole = (typeof fragmentRoles)[number];

/** A small matrix that the lanes of a subgroup hold together; lanes cannot access its elements. Initially zero. */
export interface FragmentDecl {
  readonly name: string;
  readonly role: FragmentRole;
  readonly dtype: DType;
  readonly rows: number;
  readonly columns: number;
}

/** Which elements of a matrix are adjacent in memory: those of a row, or those of a column. */
export const majorOrders = ["row_major", "column_major"] as const;
export type MajorOrder = (typeof majorOrders)[number];

/** A matrix in a storage buffer or workgroup array; offset and stride (of a row or column) count accesses. */
export interface MatrixPlace {
  readonly array: string;
  readonly offset: Expr;
  readonly stride: Expr;
  readonly order: MajorOrder;
}

export type Stmt =
  | { readonly kind: "let"; readonly target: Var; readonly value: Expr }
  | { readonly kind: "var"; readonly target: Var; readonly value: Expr }
  | { readonly kind: "assign"; readonly target: Var; readonly value: Expr }
  | {
      readonly kind: "for";
      readonly index: Var;
      readonly from: Expr;
      readonly to: Expr;
      readonly step: number;
      readonly body: readonly Stmt[];
    }
  | { readonly kind: "if"; readonly condition: Expr; readonly body: readonly Stmt[] }
  | { readonly kind: "store"; readonly buffer: string; readonly index: Expr; readonly value: Expr }
  | { readonly kind: "set"; readonly array: string; readonly index: Expr; readonly value: Expr }
  /** A workgroup barrier: makes stores to workgroup memory, and with `buffers` to buffers, visible to all threads. */
  | { readonly kind: "barrier"; readonly buffers?: true }
  | { readonly kind: "fragment_fill"; readonly fragment: string; readonly value: Expr }
  | { readonly kind: "fragment_load"; readonly fragment: string; readonly from: MatrixPlace }
  | { readonly kind: "fragment_store"; readonly fragment: string; readonly to: MatrixPlace }
  /** Adds left times right to a result fragment. */
  | { readonly kind: "fragment_multiply"; readonly fragment: string; readonly left: string; readonly right: string };

export interface Kernel {
  /** The module path and ops that it comes from: "vit.block3.attn/softmax". */
  readonly name: string;
  readonly kind: KernelKind;
  readonly buffers: readonly BufferParam[];
  readonly arrays: readonly ArrayDecl[];
  readonly fragments?: readonly FragmentDecl[];
  readonly workgroup: readonly [number, number, number];
  /** The required subgroup size; any size if absent. */
  readonly subgroupSize?: number;
  /** Workgroups along x, y and z. */
  readonly grid: readonly [Expr, Expr, Expr];
  /** Names of symbolic sizes in the order of the uniform that holds them; includes all that the body and grid read. */
  readonly sizes: readonly string[];
  readonly body: readonly Stmt[];
}

/** A barrier for workgroup memory. */
export const barrier: Stmt = { kind: "barrier" };

export const fragmentsOf = (kernel: Kernel): readonly FragmentDecl[] => kernel.fragments ?? [];

/** Threads per workgroup. */
export const threadsOf = (kernel: Kernel): number => kernel.workgroup.reduce((n, s) => n * s, 1);

/** The expressions that a statement itself evaluates, without nested statements. */
export function expressions(s: Stmt): readonly Expr[] {
  switch (s.kind) {
    case "let":
    case "var":
    case "assign":
    case "fragment_fill":
      return [s.value];
    case "for":
      return [s.from, s.to];
    case "if":
      return [s.condition];
    case "store":
    case "set":
      return [s.index, s.value];
    case "fragment_load":
      return [s.from.offset, s.from.stride];
    case "fragment_store":
      return [s.to.offset, s.to.stride];
    case "barrier":
    case "fragment_multiply":
      return [];
  }
}

/** The statement with its own expressions rewritten; nested statements are unchanged. */
export function mapExpressions(s: Stmt, f: (e: Expr) => Expr): Stmt {
  const mapPlace = (p: MatrixPlace): MatrixPlace => ({ ...p, offset: f(p.offset), stride: f(p.stride) });
  switch (s.kind) {
    case "let":
    case "var":
    case "assign":
    case "fragment_fill":
      return { ...s, value: f(s.value) };
    case "for":
      return { ...s, from: f(s.from), to: f(s.to) };
    case "if":
      return { ...s, condition: f(s.condition) };
    case "store":
    case "set":
      return { ...s, index: f(s.index), value: f(s.value) };
    case "fragment_load":
      return { ...s, from: mapPlace(s.from) };
    case "fragment_store":
      return { ...s, to: mapPlace(s.to) };
    case "barrier":
    case "fragment_multiply":
      return s;
  }
}

/** Every statement in pre-order. */
export function* statements(body: readonly Stmt[]): Generator<Stmt> {
  for (const s of body) {
    yield s;
    if (s.kind === "for" || s.kind === "if") yield* statements(s.body);
  }
}

/** Whether a kernel uses workgroup_any. */
export function usesWorkgroupAny({ body }: Kernel): boolean {
  for (const s of statements(body)) if (expressions(s).some((e) => e.kind === "any")) return true;
  return false;
}

/** Built-in indices of a thread: workgroup, thread in the workgroup, subgroup, lane in the subgroup, subgroup size. */
export const threadBuiltins = ["wid_x", "wid_y", "wid_z", "lid", "subgroup_id", "lane", "subgroup_size"] as const;
export type ThreadBuiltin = (typeof threadBuiltins)[number];
