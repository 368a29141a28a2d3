/** Changes a model, for verification, so that its products with packed integer weights compute in f32. */
import { decodeModel, encodeModel, type ModelProto } from "../onnx/index.ts";

type Graph = NonNullable<ModelProto["graph"]>;
type Node = NonNullable<Graph["node"]>[number];

/**
 * accuracy_level in onnxruntime's docs/ContribOperators.md: what the left operand is rounded to, f32 or 8-bit integers.
 */
const [inFloats, inIntegers] = [1, 4];

const isPackedProduct = (node: Node): boolean => node.opType === "MatMulNBits" && node.domain === "com.microsoft";

const levelOf = (node: Node): number => Number(node.attribute?.find((a) => a.name === "accuracy_level")?.i ?? 0);

/**
 * True if products of the model round their left operands to 8 bits, on processors that have the instructions for it.
 */
export const roundsOperands = ({ graph }: ModelProto): boolean =>
  (graph?.node ?? []).some((node) => isPackedProduct(node) && levelOf(node) === inIntegers);

/**
 * The model with every MatMulNBits computed in f32; undefined if none says otherwise. The session option
 * `qdq_matmulnbits_accuracy_level` covers only those that onnxruntime itself makes of standard operators.
 */
export function withExactProducts(bytes: Uint8Array): Uint8Array | undefined {
  const model = decodeModel(bytes);
  if (!roundsOperands(model)) return undefined;
  const node = model.graph!.node!.map((n) => (isPackedProduct(n) ? { ...n, attribute: n.attribute!.map(exact) } : n));
  return encodeModel({ ...model, graph: { ...model.graph, node } });
}

const exact = (attribute: NonNullable<Node["attribute"]>[number]) =>
  attribute.name === "accuracy_level" ? { ...attribute, i: inFloats } : attribute;
