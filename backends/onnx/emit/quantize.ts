/** Weight-only 8-bit integers: which weights, and along which dimension each has scales of its own. */
import type { Node } from "../../../compiler/index.ts";
import type { NodeProto } from "../wire/proto.ts";
import type { PlacedView } from "./emission.ts";

/** Smaller weights stay as they are: norms, biases and the like, where precision costs nothing. */
const fewestElements = 2048;

/**
 * The dimension of a weight matrix that stays in the product's result, or a table's rows: one scale for each of its
 * indices. Undefined for tensors that are no such operand.
 */
export function channelOf(
  parameter: Node,
  view: PlacedView,
  nodes: readonly NodeProto[],
  name: string,
): number | undefined {
  const float = parameter.type.dtype === "f32" || parameter.type.dtype === "f16";
  if (!float || view.dims.length !== 2 || view.dims[0]! * view.dims[1]! < fewestElements) return undefined;
  const uses = nodes.flatMap((n) => n.input!.flatMap((i, at) => (i === name ? [keptDimension(n, at)] : [])));
  return uses.every((u) => u === uses[0]) ? uses[0] : undefined;
}

/** The dimension of the operand that the result keeps. */
function keptDimension(node: NodeProto, operand: number): number | undefined {
  const flag = (name: string) => Number(node.attribute?.find((a) => a.name === name)?.i ?? 0) === 1;
  if (node.opType === "MatMul") return operand === 0 ? 0 : 1;
  if (node.opType === "Gemm") return operand === 0 ? (flag("transA") ? 1 : 0) : flag("transB") ? 0 : 1;
  return node.opType === "Gather" && operand === 0 && !flag("axis") ? 0 : undefined;
}
