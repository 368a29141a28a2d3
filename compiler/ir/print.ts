/** Prints a graph as text that parses back to the same nodes; docs/ir.md describes the format. */
import { InternalError } from "../diagnostics/error.ts";
import { isUnbounded } from "./dim.ts";
import { type Graph, inputName, nodesOf, type Output, symbolsIn } from "./graph.ts";
import type { AttrValue, Node } from "./node.ts";
import { type OpRecord, opRecord } from "./op.ts";
import { type Rolled, roll } from "./roll.ts";
import { isScalarConstant, listing } from "./schedule.ts";
import type { Item, Piece } from "./text/item.ts";
import { layOut } from "./text/layout.ts";
import { nameValues } from "./text/names.ts";
import type { Sheet } from "./text/sheet.ts";
import { countedText, defaultOutputName, spellAttr, spellName, spellText, spellType } from "./text/spell.ts";

/** The text of a graph, with repeated layers rolled into loops; deterministic for the same nodes. */
export const printGraph = (graph: Graph): string => layOut(sheetOf(graph, roll).sheet);

/** A graph with one line per node, and each node's name in the text; scalar constants have no line. */
export function printUnrolled(graph: Graph): { readonly text: string; readonly names: ReadonlyMap<Node, string> } {
  const { sheet, items } = sheetOf(graph, (all) => ({
    blocks: all.map((item) => ({ kind: "item", item })),
    places: new Map(),
  }));
  const { reference } = nameValues(sheet);
  return { text: layOut(sheet), names: new Map([...items].map(([node, item]) => [node, reference(item)])) };
}

function sheetOf(graph: Graph, rolled: (items: readonly Item[]) => Rolled) {
  const { signature, nodes } = listing(graph);
  const items = new Map<Node, Item>();
  for (const node of signature) items.set(node, signatureItem(node));
  const statements = nodes.map((node) => {
    const item = statementItem(node, items);
    items.set(node, item);
    return item;
  });
  const results = graph.outputs.map((o, i) => resultItem(graph, o, i, items));
  const sheet: Sheet = {
    name: /^[A-Za-z_]\w*(\.\w+)*$/.test(graph.name) ? graph.name : spellText(graph.name),
    symbols: symbolsIn([...graph.inputs, ...nodesOf(graph)]).filter((s) => !isUnbounded(s)),
    signature: signature.map((node) => ({ item: items.get(node)!, name: inputName(node) })),
    rolled: rolled([...statements, ...results]),
    variable: loopVariable(nodes),
  };
  return { sheet, items };
}

/** The first of i, j, k ... that is not the name of a symbol. */
function loopVariable(nodes: readonly Node[]): string {
  const symbols = new Set(symbolsIn(nodes).map((s) => s.name));
  for (const name of "ijklmnopqrstuvwxyz") if (!symbols.has(name)) return name;
  return "iteration";
}

const signatureItem = (node: Node): Item => ({
  pieces: [node.attrs.role === "state" ? "state " : ""],
  type: spellType(node.type),
  wish: inputName(node),
  isResult: false,
});

/** `contract %0, %1 over [d]`, with holes where the line of another layer may differ. */
function statementItem(node: Node, items: ReadonlyMap<Node, Item>): Item {
  const record = opRecord(node.op);
  const name = record.attrs.name?.kind === "text" ? [" ", ...countedText(String(node.attrs.name))] : [];
  const operands = node.operands.flatMap((o, i): Piece[] => [i === 0 ? " " : ", ", ...operandPieces(node, o, items)]);
  return {
    pieces: [node.op, ...name, ...operands, ...attrPieces(node, record)],
    type: spellType(node.type),
    wish: name.length > 0 ? shortName(String(node.attrs.name)) : undefined,
    isResult: false,
  };
}

/** The part of a path after its last number: `attn.qkv.weight` of `blocks.3.attn.qkv.weight`. */
function shortName(name: string): string {
  const parts = name.split(".");
  const number = parts.findLastIndex((part) => /^\d+$/.test(part));
  return parts.slice(number + 1).join(".");
}

function operandPieces(node: Node, operand: Node, items: ReadonlyMap<Node, Item>): Piece[] {
  if (!isScalarConstant(operand)) return [{ kind: "operand", item: items.get(operand)! }];
  const value = operand.attrs.value as number;
  const hole = { kind: "literal", value } as const;
  return Number.isFinite(value) && operand.type.dtype === impliedDtype(node)
    ? [hole]
    : [`${operand.type.dtype}(`, hole, ")"];
}

/** The dtype that a number among a node's operands takes by default. */
function impliedDtype(node: Node): string | undefined {
  const tensors = node.operands.filter((o) => !isScalarConstant(o));
  return (tensors.find((o) => o.type.dtype !== "bool") ?? tensors[0])?.type.dtype;
}

function attrPieces(node: Node, record: OpRecord): Piece[] {
  const unknown = Object.keys(node.attrs).find((k) => !Object.hasOwn(record.attrs, k));
  if (unknown !== undefined) throw new InternalError(`${node.op} carries "${unknown}", which its schema does not list`);
  return Object.entries(record.attrs).flatMap(([name, { kind }]): Piece[] => {
    const value = node.attrs[name];
    if (value === undefined || (name === "name" && kind === "text") || saidByType(node, record, name, value)) return [];
    return [` ${spellName(name)} `, ...spellAttr(kind, value)];
  });
}

/** A source's dtype and axes are omitted where the type at the end of its line gives them. */
function saidByType(node: Node, record: OpRecord, name: string, value: AttrValue): boolean {
  if (record.kind !== "source") return false;
  const { kind, optional } = record.attrs[name]!;
  if (kind === "dtype" && name === "dtype") return value === node.type.dtype;
  if (kind !== "sized_axes" || name !== "axes") return false;
  return !(optional && node.type.axes.length === 0);
}

/** `%4 as logits updates cache`. */
function resultItem(graph: Graph, output: Output, position: number, items: ReadonlyMap<Node, Item>): Item {
  const { name, node } = output;
  const plain = name === defaultOutputName(position, graph.outputs.length);
  const target = Object.hasOwn(graph.updates, name) ? graph.updates[name] : undefined;
  return {
    pieces: [
      ...operandPieces(node, node, items),
      ...(plain ? [] : [" as ", ...label(name)]),
      ...(target === undefined ? [] : [" updates ", ...label(target)]),
    ],
    type: "",
    wish: undefined,
    isResult: true,
  };
}

const label = (name: string): Piece[] => (spellName(name) === name ? [name] : countedText(name));
