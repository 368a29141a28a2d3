/** Makes the export plan: input kinds, layout wishes, output names. */
import { type Graph, inputName, isParameter, type Node, symbolsOf, type TensorType } from "../../../compiler/index.ts";
import { isResident } from "../../feeds.ts";
import type { ExportPlan, InputKind } from "../forms/plan.ts";
import type { EmitOptions } from "../options.ts";
import { layoutHints } from "./hints.ts";

export function planExport(graph: Graph, { residents }: EmitOptions): ExportPlan {
  const kinds = new Map(graph.inputs.map((n) => [n, kindOf(n, graph, residents)] as const));
  const given = graph.inputs.filter((n) => kinds.get(n) !== "stored").map(inputName);
  return { graph, kinds, wishes: layoutHints(graph), outputs: nameOutputs(graph, given) };
}

const isStatic = (t: TensorType): boolean => t.axes.every((a) => symbolsOf(a.size).length === 0);

function kindOf(node: Node, graph: Graph, residents: EmitOptions["residents"]): InputKind {
  if (!isStatic(node.type)) return "fed";
  if (residents === "bound") return isResident(node) ? "bound" : "fed";
  return isParameter(node) && !Object.values(graph.updates).includes(inputName(node)) ? "stored" : "fed";
}

/**
 * An output keeps its name unless an input of the file has the same one, then it gets the suffix "_out"; a stored
 * parameter of that name is renamed instead (place-inputs).
 */
function nameOutputs(graph: Graph, given: readonly string[]): Record<string, string> {
  const taken = new Set(graph.inputs.map(inputName));
  for (const { name } of graph.outputs) taken.add(name);
  return Object.fromEntries(
    graph.outputs.map(({ name }) => {
      if (!given.includes(name)) return [name, name];
      let free = `${name}_out`;
      while (taken.has(free)) free += "_";
      taken.add(free);
      return [name, free];
    }),
  );
}
