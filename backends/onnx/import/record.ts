/** The interface of an operator's import record. */
import type { Dim } from "../../../compiler/index.ts";
import type { NodeView } from "./node-view.ts";
import type { Operand } from "./values.ts";

export interface ImportRecord {
  /** The node's outputs, in order; unused ones may be omitted. */
  readonly build: (n: NodeView) => Operand | readonly (Operand | undefined)[];
  /** True for a pure movement op, which can also move symbolic sizes. */
  readonly moves?: true;
  /** Evaluates the operator on single, possibly symbolic sizes; undefined if the result is not a size. */
  readonly onSizes?: (...operands: Dim[]) => Dim | undefined;
  /** Names for the dimensions of the first operand, if the file has none. */
  readonly roles?: readonly string[];
  /** Excludes the operator from constant folding. */
  readonly unfolded?: true;
  /** True for an operator that may read sequences. */
  readonly sequences?: true;
}

export type Records = Readonly<Record<string, ImportRecord>>;
