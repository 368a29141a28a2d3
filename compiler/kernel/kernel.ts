/** Kernels: what one dispatch runs, with its buffers, its grid and its statements. */
import type { DType } from "../ir/dtype.ts";
import type { Expr, Var } from "./expr.ts";

export type KernelKind = "contraction" | "attention" | "row_reduction" | "elementwise" | "indexing";

/** A storage buffer, addressed by element; `b0`, `b1` ... in order of binding, so that equal kernels have equal text. */
export interface BufferParam {
  readonly name: string;
  readonly dtype: DType;
  readonly access: "read" | "read_write";
  /** Elements the kernel may address. */
  readonly size: Expr;
  /** Elements of one access; 1 unless said. */
  readonly width?: 4;
}

export interface ArrayDecl {
  readonly name: string;
  readonly dtype: DType;
  readonly length: number;
  readonly space: "private" | "workgroup";
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
  | { readonly kind: "store4"; readonly buffer: string; readonly index: Expr; readonly values: readonly Expr[] }
  | { readonly kind: "set"; readonly array: string; readonly index: Expr; readonly value: Expr }
  | { readonly kind: "barrier" };

export interface Kernel {
  /** Where it comes from: "vit.block3.attn/softmax". */
  readonly name: string;
  readonly kind: KernelKind;
  readonly buffers: readonly BufferParam[];
  readonly arrays: readonly ArrayDecl[];
  readonly workgroup: readonly [number, number, number];
  /** Workgroups along x, y and z. */
  readonly grid: readonly [Expr, Expr, Expr];
  /** Names of the size symbols that the body reads, in the order of their uniforms. */
  readonly sizes: readonly string[];
  readonly body: readonly Stmt[];
}

/** The expressions that a statement evaluates itself, nested statements left out. */
export function expressions(s: Stmt): readonly Expr[] {
  switch (s.kind) {
    case "let":
    case "var":
    case "assign":
      return [s.value];
    case "for":
      return [s.from, s.to];
    case "if":
      return [s.condition];
    case "store":
    case "set":
      return [s.index, s.value];
    case "store4":
      return [s.index, ...s.values];
    case "barrier":
      return [];
  }
}

/** The same statement with its own expressions rewritten; nested statements are kept. */
export function mapExpressions(s: Stmt, f: (e: Expr) => Expr): Stmt {
  switch (s.kind) {
    case "let":
    case "var":
    case "assign":
      return { ...s, value: f(s.value) };
    case "for":
      return { ...s, from: f(s.from), to: f(s.to) };
    case "if":
      return { ...s, condition: f(s.condition) };
    case "store":
    case "set":
      return { ...s, index: f(s.index), value: f(s.value) };
    case "store4":
      return { ...s, index: f(s.index), values: s.values.map(f) };
    case "barrier":
      return s;
  }
}

/** Builtin indices of a thread: its workgroup and its place in it. */
export const threadBuiltins = ["wid_x", "wid_y", "wid_z", "lid"] as const;
