/**
 * Rewrites nodes that compute with integers and scale afterwards to nodes that read dequantized floats. A weight that
 * is used both ways is then a single parameter, and its scales are no parameters:
 *
 *     before  Mul(Cast(Gather(table, ids)), Gather(scale, ids))
 *     after   Gather(DequantizeLinear(table, scale), ids)
 *
 *     before  Mul(Sub(Cast(Gather(table, ids)), 128), Gather(scale, ids))
 *     after   Gather(DequantizeLinear(table, scale, 128), ids), for a table that a MatMulInteger reads with zero point 128
 *
 *     before  Mul(Cast(MatMulInteger(units, weight, zero, 128)), Mul(step, scale))
 *     after   MatMul(DequantizeLinear(units, step, zero), DequantizeLinear(weight, scale, 128))
 */
import type { Attribute, GraphMessage, NodeMessage } from "./messages.ts";
import { operatorOf } from "./operators.ts";
import { fileTensor } from "./weights.ts";

export function readingFloats(nodes: readonly NodeMessage[], graph: GraphMessage): readonly NodeMessage[] {
  const known = new Known(nodes, graph);
  const made = nodes.map((node) => pickedRows(node, known) ?? pickedBlocks(node, known) ?? product(node, known));
  if (made.every((m) => m === undefined)) return nodes;
  const left = nodes.map((node, i) => made[i] ?? [node]);
  return withoutUnread(left.flat(), nodes, new Set(graph.output.map((o) => o.name)));
}

/** Nodes and stored tensors by output name. */
class Known {
  readonly #makers: ReadonlyMap<string, NodeMessage>;
  readonly #stored: ReadonlyMap<string, GraphMessage["initializer"][number]>;
  readonly #blocks: ReadonlyMap<string, NodeMessage>;
  readonly #zeros: ReadonlyMap<string, string>;

  constructor(nodes: readonly NodeMessage[], graph: GraphMessage) {
    this.#makers = new Map(nodes.flatMap((n) => n.output.map((o) => [o, n] as const)));
    this.#stored = new Map(graph.initializer.map((t) => [t.name, t]));
    const packed = nodes.filter((n) => operatorOf(n) === "com.microsoft.MatMulNBits" && n.input.length === 3);
    const products = nodes.filter((n) => operatorOf(n) === "MatMulInteger" && n.input[3]);
    this.#zeros = new Map(products.map((n) => [n.input[1]!, n.input[3]!]));
    this.#blocks = new Map(packed.map((n) => [n.input.slice(1).join("\n"), n]));
  }

  /** The producer of a value, if it is this operator. */
  by(operator: string, name: string | undefined): NodeMessage | undefined {
    const maker = name === undefined ? undefined : this.#makers.get(name);
    return maker && operatorOf(maker) === operator ? maker : undefined;
  }

  stored(name: string | undefined) {
    return name === undefined ? undefined : this.#stored.get(name);
  }

  /** Whether a value is a stored list of exactly these numbers, or this single number. */
  is(name: string | undefined, numbers: readonly number[]): boolean {
    const message = this.stored(name);
    if (!message || message.dims.length > 1 || message.dims.some((d) => d !== numbers.length)) return false;
    const values = fileTensor(message, undefined).values?.();
    return values?.length === numbers.length && numbers.every((x, i) => values[i] === x);
  }

  /** The zero point with which a MatMulInteger reads this weight, if its value is the given one. */
  zeroPoint(weight: string, value: number): string | undefined {
    const zero = this.#zeros.get(weight);
    return this.is(zero, [value]) ? zero : undefined;
  }

  /** The MatMulNBits that reads these blocks with these scales. */
  readerOf(blocks: string, scale: string): NodeMessage | undefined {
    return this.#blocks.get(`${blocks}\n${scale}`);
  }
}

/** An integer attribute. Writers of proto3 leave out a 0, and only the type (2, INT) says that there is one. */
const number = (node: NodeMessage, name: string, otherwise: number): number => {
  const found = node.attribute.find((a) => a.name === name);
  return found?.i ?? (found?.type === 2 ? 0 : otherwise);
};

const attribute = (name: string, i: number): Attribute =>
  ({ name, i, floats: [], ints: [], strings: [], type: 2, refAttrName: "" }) as unknown as Attribute;

/** A node that replaces another. */
const standing = (
  at: NodeMessage,
  opType: string,
  input: readonly string[],
  output: string,
  attributes: readonly Attribute[] = [],
  domain = "",
): NodeMessage => ({ ...at, domain, opType, input: [...input], output: [output], attribute: [...attributes] });

const part = (node: NodeMessage, name: string): string => `${node.output[0]}/${name}`;

/** Row gathers from a stored table or a transposed matrix, with scales per row. */
function pickedRows(node: NodeMessage, known: Known): NodeMessage[] | undefined {
  if (operatorOf(node) !== "Mul") return undefined;
  const units = known.by("Sub", node.input[0]);
  const rows = castOf(units?.input[0] ?? node.input[0], "Gather", known);
  const scales = known.by("Gather", node.input[1]);
  if (!rows || !scales || rows.input[1] !== scales.input[1] || [rows, scales].some((g) => number(g, "axis", 0) !== 0))
    return undefined;
  const turn = known.by("Transpose", rows.input[0]);
  const table = known.stored(turn ? turn.input[0] : rows.input[0]);
  const raised = known.by("Unsqueeze", scales.input[0]);
  const scale = known.stored(raised ? raised.input[0] : scales.input[0]);
  if (table?.dims.length !== 2 || !scale || (raised && !known.is(raised.input[1], [-1]))) return undefined;
  const [count, width] = turn ? [table.dims[1], table.dims[0]!] : [table.dims[0], table.dims[1]!];
  const fits = raised ? scale.dims.length === 1 : scale.dims.length === 2 && scale.dims[1] === 1 && !turn;
  if (!fits || scale.dims[0] !== count) return undefined;
  const zero = units && known.is(units.input[1], [128]) ? known.zeroPoint(table.name, 128) : undefined;
  if (units && !zero) return undefined;
  const where = raised ? [attribute("axis", turn ? 1 : 0)] : [attribute("axis", 1), attribute("block_size", width)];
  const operands = [table.name, scale.name, ...(zero ? [zero] : [])];
  const floats = standing(node, "DequantizeLinear", operands, part(node, "floats"), where);
  const turned = turn && standing(node, "Transpose", [floats.output[0]!], part(node, "turned"), turn.attribute);
  const from = (turned ?? floats).output[0]!;
  return [floats, ...(turned ? [turned] : []), standing(node, "Gather", [from, rows.input[1]!], node.output[0]!)];
}

/** Like `pickedRows`, for blocks that a MatMulNBits also reads: bytes with zero point 128, dequantized and joined. */
function pickedBlocks(node: NodeMessage, known: Known): NodeMessage[] | undefined {
  const flat = operatorOf(node) === "Slice" ? known.by("Reshape", node.input[0]) : node;
  const scaled = flat && operatorOf(flat) === "Reshape" ? known.by("Mul", flat.input[0]) : undefined;
  const units = known.by("Sub", scaled?.input[0]);
  const rows = castOf(units?.input[0], "Gather", known);
  const scales = known.by("Gather", known.by("Unsqueeze", scaled?.input[1])?.input[0]);
  if (!flat || !units || !rows || !scales || rows.input[1] !== scales.input[1]) return undefined;
  const reader = known.readerOf(rows.input[0]!, scales.input[0]!);
  const shape = known.by("Concat", flat.input[1]);
  if (!reader || !shape || known.by("Shape", shape.input[0])?.input[0] !== rows.input[1]) return undefined;
  const [width, block] = [number(reader, "K", 0), number(reader, "block_size", 1)];
  const filled = Math.ceil(width / block) * block;
  const cut = node === flat ? filled === width : [[0], [width], [-1]].every((v, i) => known.is(node.input[i + 1], v));
  if (!cut || number(reader, "bits", 4) !== 8 || !known.is(units.input[1], [128])) return undefined;
  if (!known.is(shape.input[1], [filled])) return undefined;
  const floats = standing(
    reader,
    "BlocksAsFloats",
    ["", ...reader.input.slice(1)],
    part(node, "floats"),
    reader.attribute,
    "heddle",
  );
  return [floats, standing(node, "Gather", [floats.output[0]!, rows.input[1]!], node.output[0]!)];
}

/** A matmul of a dynamically quantized operand with a stored matrix. */
function product(node: NodeMessage, known: Known): NodeMessage[] | undefined {
  if (operatorOf(node) !== "Mul") return undefined;
  const sums = castOf(node.input[0], "MatMulInteger", known);
  const scales = known.by("Mul", node.input[1]);
  const rounded = known.by("DynamicQuantizeLinear", sums?.input[0]);
  const [weight, scale] = [known.stored(sums?.input[1]), known.stored(scales?.input[1])];
  if (!sums || !rounded || weight?.dims.length !== 2 || !scale || scale.dims.length > 1) return undefined;
  const [units, step, zero] = rounded.output;
  if (scales?.input[0] !== step || sums.input[2] !== zero || rounded.output.length !== 3) return undefined;
  const own = sums.input[3] ? [sums.input[3]] : [];
  const floats = standing(node, "DequantizeLinear", [weight.name, scale.name, ...own], part(node, "floats"), [
    attribute("axis", 1),
  ]);
  const left = standing(node, "DequantizeLinear", [units!, step!, zero!], part(node, "left"));
  return [floats, left, standing(node, "MatMul", [left.output[0]!, floats.output[0]!], node.output[0]!)];
}

/** The node of this operator whose result a Cast turns into `name`. */
const castOf = (name: string | undefined, operator: string, known: Known): NodeMessage | undefined =>
  known.by(operator, known.by("Cast", name)?.input[0]);

/** Removes nodes that have lost all their readers in the rewrite. */
function withoutUnread(
  made: readonly NodeMessage[],
  given: readonly NodeMessage[],
  outputs: Set<string>,
): readonly NodeMessage[] {
  const before = readBy(given);
  const read = new Set(outputs);
  const kept: NodeMessage[] = [];
  for (const node of [...made].reverse()) {
    const isLeft = node.output.every((o) => !read.has(o)) && node.output.some((o) => before.has(o));
    if (isLeft) continue;
    for (const name of readBy([node])) read.add(name);
    kept.push(node);
  }
  return kept.reverse();
}

/** Names that nodes read, including in subgraphs. */
function readBy(nodes: readonly NodeMessage[], into = new Set<string>()): Set<string> {
  for (const node of nodes) {
    for (const name of node.input) into.add(name);
    for (const { g } of node.attribute) {
      if (!g) continue;
      for (const { name } of g.output) into.add(name);
      readBy(g.node, into);
    }
  }
  return into;
}
