/** Weight-only integers: which weights, and where each has scales of its own. */
import type { Node } from "../../../compiler/index.ts";
import type { NodeProto } from "../wire/proto.ts";
import type { Attributes, PlacedView } from "./emission.ts";

/** How a matrix is written as integers. */
export interface Quantization {
  readonly bits: 8 | 4;
  /** The dimension whose every index has scales of its own. */
  readonly channel: 0 | 1;
  /** Elements along the other dimension that share a scale: all of them, or 32 for the coarse integers of 4 bits. */
  readonly block: number;
}

/** Elements that share a scale among 4-bit integers; as in ggml's Q4_0, which kernels are written for. */
const blockOf4 = 32;

/** The scales' dimensions: one for each channel, and where there are several blocks one for each of those. */
export function scaleDims([rows, columns]: readonly [number, number], q: Quantization): number[] {
  const blocks = Math.ceil((q.channel === 0 ? columns : rows) / q.block);
  if (q.bits === 8) return [q.channel === 0 ? rows : columns];
  return q.channel === 0 ? [rows, blocks] : [blocks, columns];
}

/** DequantizeLinear's attributes. */
export const dequantization = (q: Quantization): Attributes =>
  q.bits === 8 ? { axis: q.channel } : { axis: 1 - q.channel, block_size: q.block };

/** Smaller weights stay as they are: norms, biases and the like, where precision costs nothing. */
const fewestElements = 2048;

/**
 * How a weight is written as integers: matrices of products have scales by the dimension that stays in the result,
 * tables by row. Undefined for tensors that are no such operand.
 */
export function quantizationOf(
  parameter: Node,
  { dims }: PlacedView,
  nodes: readonly NodeProto[],
  name: string,
  bits: 8 | 4,
): Quantization | undefined {
  const float = parameter.type.dtype === "f32" || parameter.type.dtype === "f16";
  if (!float || dims.length !== 2 || dims[0]! * dims[1]! < fewestElements) return undefined;
  const uses = nodes.flatMap((n) => n.input!.flatMap((i, at) => (i === name ? [keptDimension(n, at)] : [])));
  const channel = uses[0];
  if (channel === undefined || uses.some((u) => u !== channel)) return undefined;
  return { bits, channel, block: bits === 8 ? dims[1 - channel]! : blockOf4 };
}

/** The dimension of the operand that the result keeps. */
function keptDimension(node: NodeProto, operand: number): 0 | 1 | undefined {
  const flag = (name: string) => Number(node.attribute?.find((a) => a.name === name)?.i ?? 0) === 1;
  if (node.opType === "MatMul") return operand === 0 ? 0 : 1;
  if (node.opType === "Gemm") return operand === 0 ? (flag("transA") ? 1 : 0) : flag("transB") ? 0 : 1;
  return node.opType === "Gather" && operand === 0 && !flag("axis") ? 0 : undefined;
}
