/** Weight-only integers: which weights, where each has scales of its own, and how floats are made of them. */
import type { Node } from "../../../compiler/index.ts";
import { type Attributes, addNode, attributesOf, castTo, emit, unique, type Writer } from "../emit/emission.ts";
import type { Body } from "../forms/body.ts";
import { type Quantization, type StoredPart, type StoredTensor, scaleDims } from "../forms/stored.ts";
import { blockBytes } from "../wire/integers.ts";
import type { NodeProto } from "../wire/proto.ts";
import { renameValues } from "./rename-values.ts";
import { writerOn } from "./writer.ts";

/** Elements that share a scale among 4-bit integers; as in ggml's Q4_0, which kernels are written for. */
const blockOf4 = 32;

/** Smaller weights stay as they are: norms, biases and the like, where precision costs nothing. */
const fewestElements = 2048;

/**
 * Stores weight matrices as integers and their scales, where the options ask for it. A node in front of products makes floats
 * of a matrix, or the product is onnxruntime's own that reads integers; of a table, of which a run wants few rows, the rows
 * that were picked are made floats.
 */
export function quantizeWeights(body: Body): Body {
  const { weights, dialect } = body.options;
  if (weights === "plain") return body;
  const writer = writerOn(body);
  const uses = usesOf(body.nodes);
  const names = new Map<string, string>();
  const tables = new Map<string, Table>();
  const packed = new Map<string, Packed>();
  const stored = body.stored.map((t): StoredTensor => {
    const [part] = t.parts as [StoredPart];
    const use = useOf(t, part, uses.get(part.name) ?? []);
    if (use === undefined) return t;
    writer.at = t.parameter;
    const scale = unique(writer, `${part.name}.scale`);
    const type = part.type as "f32" | "f16";
    if (use === "right" && dialect === "onnxruntime") {
      const turned = turnedMatrix(t, part);
      const q: Quantization = { dims: turned.dims, bits: weights, channel: 0, block: blockOf4, packed: true };
      packed.set(part.name, { scale, q });
      const dims = scaleDims(q);
      const bytes = [...dims, blockBytes(q)];
      return {
        ...t,
        perm: turned.perm,
        quantization: q,
        parts: [
          { ...part, type: "u8", dims: bytes },
          { name: scale, type, dims },
        ],
      };
    }
    const q = quantizationOf(part, use, weights);
    if (use === "rows") tables.set(part.name, { parameter: t.parameter, scale, type });
    else names.set(part.name, addNode(writer, "DequantizeLinear", [part.name, scale], dequantization(q)));
    const dims = use === "rows" ? [part.dims[0]!, 1] : scaleDims(q);
    return {
      ...t,
      quantization: q,
      parts: [
        { ...part, type: q.bits === 8 ? "i8" : "i4" },
        { name: scale, type, dims },
      ],
    };
  });
  if (stored.every((t, i) => t === body.stored[i])) return body;
  for (const node of renameValues(body.nodes, names)) {
    const table = node.opType === "Gather" ? tables.get(node.input![0]!) : undefined;
    const right = node.opType === "MatMul" ? packed.get(node.input![1]!) : undefined;
    if (table) pickedRows(writer, node, table);
    else writer.nodes.push(right ? productOfPacked(node, right) : node);
  }
  return { ...body, nodes: writer.nodes, stored, constants: writer.constants, taken: writer.taken };
}

/** A packed matrix and the name of its scales. */
interface Packed {
  readonly scale: string;
  readonly q: Quantization;
}

/**
 * onnxruntime's product with a matrix of packed integers; products are computed with inputs rounded to 8 bits, as it does for
 * the standard's operators too.
 * Source: MatMulNBits in onnxruntime's docs/ContribOperators.md.
 */
function productOfPacked(node: NodeProto, { scale, q }: Packed): NodeProto {
  const [columns, rows] = q.dims;
  const attribute = attributesOf({ K: rows, N: columns, bits: q.bits, block_size: q.block, accuracy_level: 4 });
  return { ...node, opType: "MatMulNBits", domain: "com.microsoft", input: [...node.input!, scale], attribute };
}

/** The matrix [rows, columns] of a product's right side as [columns, rows]: its dimensions, and the order of its axes. */
function turnedMatrix({ from, perm }: StoredTensor, { dims }: StoredPart) {
  const [rows, columns] = dims as [number, number];
  let [at, product] = [0, 1];
  while (product < rows) product *= from[perm[at++]!]!;
  return { dims: [columns, rows] as const, perm: [...perm.slice(at), ...perm.slice(0, at)] };
}

/** A table of integers: the scales of its rows, and the floats that they are. */
interface Table {
  readonly parameter: Node;
  readonly scale: string;
  readonly type: "f32" | "f16";
}

/** Rows of a table and their scales are picked, and multiplied: under the name that the node gave them. */
function pickedRows(writer: Writer, node: NodeProto, { parameter, scale, type }: Table): void {
  const [table, ids] = node.input as [string, string];
  writer.at = parameter;
  const rows = castTo(writer, emit(writer, "Gather", [table, ids]), "i8", type);
  const scales = emit(writer, "Gather", [scale, ids]);
  writer.nodes.push({ ...node, opType: "Mul", input: [rows, scales], attribute: [] });
}

/** DequantizeLinear's attributes. */
const dequantization = (q: Quantization): Attributes =>
  q.bits === 8 ? { axis: q.channel } : { axis: 1 - q.channel, block_size: q.block };

/**
 * How a weight is written as integers: matrices of products have scales by the dimension that stays in the result, tables by
 * row, and always in 8 bits, since their rows are added to and not summed over.
 */
function quantizationOf(part: StoredPart, use: Use, bits: 8 | 4): Quantization {
  const dims = part.dims as [number, number];
  const channel = use === "rows" ? 0 : use === "right" ? 1 : use;
  return use === "rows" || bits === 8
    ? { dims, bits: 8, channel, block: dims[1 - channel]! }
    : { dims, bits, channel, block: blockOf4 };
}

/** What a weight is to all that read it; undefined for one that stays as it is. */
function useOf({ quantization }: StoredTensor, { type, dims }: StoredPart, uses: readonly (Use | undefined)[]) {
  if (quantization || (type !== "f32" && type !== "f16")) return undefined;
  if (dims.length !== 2 || dims[0]! * dims[1]! < fewestElements) return undefined;
  return uses.every((u) => u === uses[0]) ? uses[0] : undefined;
}

/**
 * The dimension of a product's operand that the result keeps; "right" where that is the last one of MatMul's right side; "rows"
 * of a table from which they are picked.
 */
type Use = 0 | 1 | "right" | "rows";

function usesOf(nodes: readonly NodeProto[]): Map<string, (Use | undefined)[]> {
  const uses = new Map<string, (Use | undefined)[]>();
  for (const n of nodes)
    n.input!.forEach((name, at) => {
      const known = uses.get(name);
      if (known) known.push(useAt(n, at));
      else uses.set(name, [useAt(n, at)]);
    });
  return uses;
}

/** Undefined for operands of anything but products and tables. */
function useAt(node: NodeProto, operand: number): Use | undefined {
  const flag = (name: string) => Number(node.attribute?.find((a) => a.name === name)?.i ?? 0) === 1;
  if (node.opType === "MatMul") return operand === 0 ? 0 : "right";
  if (node.opType === "Gemm") return operand === 0 ? (flag("transA") ? 1 : 0) : flag("transB") ? 0 : 1;
  return node.opType === "Gather" && operand === 0 && !flag("axis") ? "rows" : undefined;
}
