/** Weight-only integers: which weights, and where each has scales of its own. */
import { type Attributes, addNode, unique } from "../emit/emission.ts";
import type { Body } from "../forms/body.ts";
import { type Quantization, type StoredPart, type StoredTensor, scaleDims } from "../forms/stored.ts";
import type { NodeProto } from "../wire/proto.ts";
import { renameValues } from "./rename-values.ts";
import { writerOn } from "./writer.ts";

/** Elements that share a scale among 4-bit integers; as in ggml's Q4_0, which kernels are written for. */
const blockOf4 = 32;

/** Smaller weights stay as they are: norms, biases and the like, where precision costs nothing. */
const fewestElements = 2048;

/** Stores weight matrices as integers and their scales, where the options ask for it; a node in front makes them floats. */
export function quantizeWeights(body: Body): Body {
  const { weights } = body.options;
  if (weights === "plain") return body;
  const writer = writerOn(body);
  const uses = usesOf(body.nodes);
  const names = new Map<string, string>();
  const stored = body.stored.map((t): StoredTensor => {
    const [part] = t.parts as [StoredPart];
    const quantization = quantizationOf(t, part, uses.get(part.name) ?? [], weights);
    if (!quantization) return t;
    writer.at = t.parameter;
    const scale = unique(writer, `${part.name}.scale`);
    names.set(part.name, addNode(writer, "DequantizeLinear", [part.name, scale], dequantization(quantization)));
    const dims = scaleDims(part.dims as [number, number], quantization);
    const parts: StoredPart[] = [
      { ...part, type: quantization.bits === 8 ? "i8" : "i4" },
      { name: scale, type: part.type, dims },
    ];
    return { ...t, quantization, parts };
  });
  if (names.size === 0) return body;
  return { ...body, nodes: [...writer.nodes, ...renameValues(body.nodes, names)], stored, taken: writer.taken };
}

/** DequantizeLinear's attributes. */
const dequantization = (q: Quantization): Attributes =>
  q.bits === 8 ? { axis: q.channel } : { axis: 1 - q.channel, block_size: q.block };

/**
 * How a weight is written as integers: matrices of products have scales by the dimension that stays in the result,
 * tables by row. Undefined for tensors that are no such operand.
 */
function quantizationOf(
  { quantization }: StoredTensor,
  { type, dims }: StoredPart,
  uses: readonly Use[],
  bits: 8 | 4,
): Quantization | undefined {
  if (quantization || (type !== "f32" && type !== "f16")) return undefined;
  if (dims.length !== 2 || dims[0]! * dims[1]! < fewestElements) return undefined;
  const channel = uses[0];
  if (channel === undefined || uses.some((u) => u !== channel)) return undefined;
  return { bits, channel, block: bits === 8 ? dims[1 - channel]! : blockOf4 };
}

/** The dimension of an operand that the result keeps; undefined for operands of anything but products and tables. */
type Use = 0 | 1 | undefined;

function usesOf(nodes: readonly NodeProto[]): Map<string, Use[]> {
  const uses = new Map<string, Use[]>();
  for (const n of nodes)
    n.input!.forEach((name, at) => {
      const known = uses.get(name);
      if (known) known.push(keptDimension(n, at));
      else uses.set(name, [keptDimension(n, at)]);
    });
  return uses;
}

function keptDimension(node: NodeProto, operand: number): Use {
  const flag = (name: string) => Number(node.attribute?.find((a) => a.name === name)?.i ?? 0) === 1;
  if (node.opType === "MatMul") return operand === 0 ? 0 : 1;
  if (node.opType === "Gemm") return operand === 0 ? (flag("transA") ? 1 : 0) : flag("transB") ? 0 : 1;
  return node.opType === "Gather" && operand === 0 && !flag("axis") ? 0 : undefined;
}
