/** What one operator of ONNX becomes: the two ways of a record. */
import type { Dim } from "../../../compiler/index.ts";
import type { NodeView } from "./node-view.ts";
import type { Value } from "./values.ts";

export interface ImportRecord {
  /** The values that the node gives, in the order of its outputs; those that nobody wants may be left out. */
  readonly build: (n: NodeView) => Value | readonly (Value | undefined)[];
  /** It moves elements and computes none, so that it may move sizes that are open. */
  readonly moves?: true;
  /** The same on single sizes, which may be open: undefined where the result is no size. */
  readonly onSizes?: (...operands: Dim[]) => Dim | undefined;
  /** What the dimensions of its first operand are called, where the file does not say. */
  readonly roles?: readonly string[];
  /** Never computed while the file is read, whatever is known. */
  readonly unfolded?: true;
}

export type Records = Readonly<Record<string, ImportRecord>>;
