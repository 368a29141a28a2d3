/** All ops: importing this file registers their records and exports their builders. */
export * from "./activations.ts";
export { type AttentionAxes, attention, attentionLse, biasedAttention } from "./attention.ts";
export { attentionParts } from "./attention-parts.ts";
export * from "./contraction.ts";
export * from "./elementwise.ts";
export * from "./indexing.ts";
export {
  asNodes,
  type Binary,
  type Builder,
  type ElementwiseSpec,
  elementwise,
  is,
  type OpBuilder,
  type Operand,
  type Recorded,
  record as defineOp,
  requireAxes,
  type Ternary,
  type Unary,
} from "./kinds.ts";
export * from "./losses.ts";
export * from "./movement.ts";
export { type MovementSpec, movement } from "./movement-kind.ts";
export * from "./normalization.ts";
export * from "./online-softmax.ts";
export { dequantizeInt4, dequantizeInt8, type IntegerBits } from "./quantization.ts";
export { type Reduction, type ReductionSpec, reduction } from "./reduction-kind.ts";
export * from "./reductions.ts";
export * from "./sources.ts";
export { kernelOf, type Steps, stepsOf, type TransposedSteps, transposedWindow, window } from "./windows.ts";
