/** Emits a planned graph as ONNX nodes. */
import { inputName, type Node, nodesOf } from "../../../compiler/index.ts";
import type { Body, Result } from "../forms/body.ts";
import type { ExportPlan, InputKind } from "../forms/plan.ts";
import type { EmitOptions } from "../options.ts";
import { countOrder } from "./elementwise.ts";
import { addNode, castTo, type Emission, emission, fedType } from "./emission.ts";
import { whole } from "./layout.ts";
import { emitNode } from "./table.ts";
import { first, separate, type Tensor, tensor, value } from "./value.ts";
import { placeView, wholeView } from "./views.ts";

export function emitGraph(plan: ExportPlan, options: EmitOptions): Body {
  const e = emission(plan, options);
  const made = emitAll(e);
  const claimed = new Set<string>();
  const results = plan.graph.outputs.map(({ name, node }): Result => {
    const from = finish(e, made.get(node)!, node, claimed);
    return { output: name, from, to: plan.outputs[name]!, type: node.type };
  });
  const { graph, kinds, nodes, constants, views, products, taken } = e;
  return { graph, options, kinds, nodes, constants, views, products, stored: [], bound: [], results, taken };
}

function emitAll(e: Emission): Map<Node, Tensor> {
  const results = new Map<Node, Tensor>();
  for (const node of nodesOf(e.graph)) {
    e.at = node;
    const kind = e.kinds.get(node);
    const operands = node.operands.map((o) => results.get(o)!);
    const result = kind ? source(e, node, kind) : emitNode(e, node, operands);
    countOrder(e, first(result));
    results.set(node, result);
  }
  e.at = undefined;
  return results;
}

function source(e: Emission, node: Node, kind: InputKind): Tensor {
  const groups = separate(node.type.axes);
  if (kind === "fed") {
    const name = castTo(e, inputName(node), fedType(e.options, node), node.type.dtype);
    return tensor(value(name, node.type.dtype, groups));
  }
  const order = node.type.axes.filter((a) => a.size !== 1).map((a) => a.name);
  return tensor(placeView(e, wholeView(node), order, groups, node.type.dtype));
}

/** The output in its declared axes; through an Identity if its value cannot be renamed or is already an output. */
function finish(e: Emission, t: Tensor, node: Node, claimed: Set<string>): string {
  e.at = node;
  const v = whole(e, t, node.type.axes);
  const free = e.nodes.some((n) => n.output![0] === v.name) && !claimed.has(v.name);
  const name = free ? v.name : addNode(e, "Identity", [v.name]);
  claimed.add(name);
  e.at = undefined;
  return name;
}
