/** Kernels: what one dispatch runs, with its buffers, its grid and its statements. */
import type { DType } from "../ir/dtype.ts";
import type { Expr, Var, Width } from "./expr.ts";

export const kernelKinds = ["contraction", "attention", "row_reduction", "elementwise", "indexing"] as const;
export type KernelKind = (typeof kernelKinds)[number];

/** A storage buffer; `b0`, `b1` ... in order of binding, so that equal kernels have equal text. */
export interface BufferParam {
  readonly name: string;
  readonly dtype: DType;
  readonly access: "read" | "read_write";
  /** Elements the kernel may address. */
  readonly size: Expr;
  /**
   * Elements that are bound in every run, where `size` is open until one: a length in the type, against which an access
   * is clamped for less than against a length that has to be asked for.
   */
  readonly reserved?: number;
  /** Elements of one access; default 1. Indices count accesses. */
  readonly width?: Width;
}

/** Memory of one thread, or of a workgroup. It begins as zeros. */
export interface ArrayDecl {
  readonly name: string;
  readonly dtype: DType;
  /** In elements. */
  readonly length: number;
  /** Elements of one access; default 1. Indices count accesses. */
  readonly width?: Width;
  readonly space: "private" | "workgroup";
}

/** What a fragment is in left [m, k] times right [k, n] plus result [m, n]. */
export const fragmentRoles = ["left", "right", "result"] as const;
export type FragmentRole = (typeof fragmentRoles)[number];

/** A small matrix that the lanes of a subgroup hold together; no lane sees its elements. It begins as zeros. */
export interface FragmentDecl {
  readonly name: string;
  readonly role: FragmentRole;
  readonly dtype: DType;
  readonly rows: number;
  readonly columns: number;
}

/** Which elements of a matrix are neighbours in memory: those of a row, or those of a column. */
export const majorOrders = ["row_major", "column_major"] as const;
export type MajorOrder = (typeof majorOrders)[number];

/** A matrix in a storage buffer or workgroup array; offset and stride (of a row or column) count accesses, as indices do. */
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
  /** All threads of the workgroup meet: they see each other's stores to its memory, and where it says so, to buffers. */
  | { readonly kind: "barrier"; readonly buffers?: true }
  | { readonly kind: "fragment_fill"; readonly fragment: string; readonly value: Expr }
  | { readonly kind: "fragment_load"; readonly fragment: string; readonly from: MatrixPlace }
  | { readonly kind: "fragment_store"; readonly fragment: string; readonly to: MatrixPlace }
  /** Adds left times right to the fragment, which is a result. */
  | { readonly kind: "fragment_multiply"; readonly fragment: string; readonly left: string; readonly right: string };

export interface Kernel {
  /** Where it comes from: "vit.block3.attn/softmax". */
  readonly name: string;
  readonly kind: KernelKind;
  readonly buffers: readonly BufferParam[];
  readonly arrays: readonly ArrayDecl[];
  readonly fragments?: readonly FragmentDecl[];
  readonly workgroup: readonly [number, number, number];
  /** The only subgroup size that the kernel is right for; any where it is absent. */
  readonly subgroupSize?: number;
  /** Workgroups along x, y and z. */
  readonly grid: readonly [Expr, Expr, Expr];
  /** Names of the sizes in the order of the uniform that holds them; those that the kernel reads are among them, its grid's too. */
  readonly sizes: readonly string[];
  readonly body: readonly Stmt[];
}

export const fragmentsOf = (kernel: Kernel): readonly FragmentDecl[] => kernel.fragments ?? [];

/** Threads of a workgroup. */
export const threadsOf = (kernel: Kernel): number => kernel.workgroup.reduce((n, s) => n * s, 1);

/** The expressions that a statement evaluates itself, nested statements left out. */
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

/** The same statement with its own expressions rewritten; nested statements are kept. */
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

/** Every statement, those inside others after the one that holds them. */
export function* statements(body: readonly Stmt[]): Generator<Stmt> {
  for (const s of body) {
    yield s;
    if (s.kind === "for" || s.kind === "if") yield* statements(s.body);
  }
}

/** Whether a kernel asks something of all threads of a workgroup at once. */
export function asksAny({ body }: Kernel): boolean {
  for (const s of statements(body)) if (expressions(s).some((e) => e.kind === "any")) return true;
  return false;
}

/** Indices of a thread: its workgroup, its place in it, its subgroup, its place in that, and how many lanes a subgroup has. */
export const threadBuiltins = ["wid_x", "wid_y", "wid_z", "lid", "subgroup_id", "lane", "subgroup_size"] as const;
export type ThreadBuiltin = (typeof threadBuiltins)[number];
