/** Classifies how nodes use weights, to find those that can be quantized. */
import type { Body } from "../forms/body.ts";
import type { StoredPart, StoredTensor } from "../forms/stored.ts";
import type { NodeProto } from "../wire/proto.ts";

/** Smaller weights stay in floats: norms, biases and the like, where precision is cheap. */
const fewestElements = 2048;

/** The use of a matrix that only matmuls or row gathers read. */
export interface Use {
  /** The dimension that results keep, with its own scales per index. */
  readonly channel: 0 | 1;
  /** True if rows of it are gathered. */
  readonly rows: boolean;
  /** Its names as a right operand of MatMul: its own, or those of its transposes if it is also a table. */
  readonly rights: readonly string[];
}

/** A node's use of an operand: the dimension that a matmul's result keeps, or one of the above. */
type UseAt = 0 | 1 | "right" | "turned" | "rows" | undefined;

/** Returns the common use of a weight by all its readers; undefined if it cannot be quantized. */
export function weightUses({ nodes, results }: Body): (t: StoredTensor) => Use | undefined {
  const readers = readersOf(nodes);
  const outputs = new Set(results.map((r) => r.from));
  const of = (name: string) => readers.get(name) ?? [];
  const isRight = (name: string) => !outputs.has(name) && of(name).every((r) => useAt(r) === "right");
  const use = (r: Reader): UseAt =>
    r.node.opType === "Transpose" && isRight(r.node.output![0]!) ? "turned" : useAt(r);
  return ({ quantization, parts }) => {
    const [{ name, type, dims }] = parts as [StoredPart];
    if (quantization || (type !== "f32" && type !== "f16")) return undefined;
    if (dims.length !== 2 || dims[0]! * dims[1]! < fewestElements) return undefined;
    const kinds = [...new Set(of(name).map(use))].sort();
    if (kinds.length === 1 && kinds[0] !== "turned") return useAs(kinds[0], name);
    if (`${kinds}` !== "rows,turned") return undefined;
    const transposes = of(name).filter((r) => use(r) === "turned");
    return { channel: 0, rows: true, rights: transposes.map(({ node }) => node.output![0]!) };
  };
}

function useAs(kind: UseAt, name: string): Use | undefined {
  if (kind === "rows") return { channel: 0, rows: true, rights: [] };
  if (kind === "right") return { channel: 1, rows: false, rights: [name] };
  return kind === 0 || kind === 1 ? { channel: kind, rows: false, rights: [] } : undefined;
}

interface Reader {
  readonly node: NodeProto;
  readonly operand: number;
}

function readersOf(nodes: readonly NodeProto[]): Map<string, Reader[]> {
  const readers = new Map<string, Reader[]>();
  for (const node of nodes)
    node.input!.forEach((name, operand) => {
      const known = readers.get(name);
      if (known) known.push({ node, operand });
      else readers.set(name, [{ node, operand }]);
    });
  return readers;
}

/** Undefined for operands of anything but matmuls and row gathers. */
function useAt({ node, operand }: Reader): UseAt {
  const flag = (name: string) => Number(node.attribute?.find((a) => a.name === name)?.i ?? 0) === 1;
  if (node.opType === "MatMul") return operand === 0 ? 0 : "right";
  if (node.opType === "Gemm") return operand === 0 ? (flag("transA") ? 1 : 0) : flag("transB") ? 0 : 1;
  return node.opType === "Gather" && operand === 0 && !flag("axis") ? "rows" : undefined;
}
