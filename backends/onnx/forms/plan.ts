/** Export decisions made before emission: input kinds, layout wishes, output names. */
import {
  type Form,
  type Graph,
  InternalError,
  inputName,
  isGraphInput,
  type Node,
  nodesOf,
  printType,
} from "../../../compiler/index.ts";
import type { Wish } from "../emit/hints.ts";

/** How a graph input appears: fed at each run, stored in the file, or bound to ranges of device memory. */
export type InputKind = "fed" | "stored" | "bound";

export interface ExportPlan {
  /** Every node has an ONNX operator. */
  readonly graph: Graph;
  readonly kinds: ReadonlyMap<Node, InputKind>;
  /** Layouts that a node's users prefer, if any. */
  readonly wishes: ReadonlyMap<Node, Wish>;
  /** Output names in the file, by their names in the graph. */
  readonly outputs: Readonly<Record<string, string>>;
}

export const planForm: Form<ExportPlan> = {
  name: "export plan",
  print: printPlan,
  verify: verifyPlan,
  size: ({ kinds, wishes }) => `${kinds.size} inputs, ${wishes.size} layouts asked for`,
};

function printPlan({ graph, kinds, wishes, outputs }: ExportPlan): string {
  const place = new Map(nodesOf(graph).map((n, i) => [n, i]));
  const wished = [...wishes].sort(([a], [b]) => place.get(a)! - place.get(b)!);
  const lines = [
    ...graph.inputs.map((n) => `${kinds.get(n)} ${described(n)}`),
    ...wished.map(([node, wish]) => `layout of ${described(node)}: ${printWish(wish)}`),
    ...graph.outputs.map((o) => `output "${o.name}" as "${outputs[o.name]}" : ${printType(o.node.type)}`),
  ];
  return `export @${graph.name} {\n${lines.map((l) => `  ${l}\n`).join("")}}\n`;
}

const described = (node: Node): string => {
  const which = isGraphInput(node) ? ` "${inputName(node)}"` : node.path === "" ? "" : ` of ${node.path}`;
  return `${node.op}${which} : ${printType(node.type)}`;
};

const list = (names: readonly string[]): string => `[${names.join(", ")}]`;

const printWish = ({ order, roles }: Wish): string =>
  roles ? `${list(order)}, or a matrix of ${list(roles.batch)} x ${list(roles.contracted)} and the rest` : list(order);

function verifyPlan({ graph, kinds, wishes, outputs }: ExportPlan, stage: string): void {
  const fail = (message: string): never => {
    throw new InternalError(`after stage "${stage}": ${message}`);
  };
  const nodes = new Set(nodesOf(graph));
  for (const n of graph.inputs) if (!kinds.has(n)) fail(`nobody says where the input "${inputName(n)}" comes from`);
  for (const [node, { order }] of wishes) {
    if (!nodes.has(node)) fail(`a layout is asked of ${described(node)}, which the graph lacks`);
    const axes = node.type.axes.map((a) => a.name);
    const wrong = order.find((name, i) => !axes.includes(name) || order.indexOf(name) !== i);
    if (wrong !== undefined) fail(`the layout ${list(order)} of ${described(node)} has the axis "${wrong}" wrong`);
  }
  const names = graph.outputs.map((o) => outputs[o.name] ?? fail(`the output "${o.name}" has no name in the file`));
  if (new Set(names).size < names.length) fail(`two outputs are named alike: ${names.join(", ")}`);
}
