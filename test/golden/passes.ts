/** The passes that golden graphs go through, by name. */
import { selectRanges } from "../../backends/onnx/passes/select-ranges.ts";
import { tabulateIotas } from "../../backends/onnx/passes/tabulate-iotas.ts";
import {
  canonicalize,
  coreOf,
  decompose,
  differentiate,
  fold,
  fuseAttention,
  type Graph,
  halfPrecision,
  inputName,
  makeGraph,
  type Node,
  opRecord,
  type Pass,
  prune,
  splitContractions,
} from "../../compiler/index.ts";

/** Adds the gradient of the first output with respect to every parameter. */
function addGradients(graph: Graph): Graph {
  const wanted = graph.inputs.filter((n) => n.op === "parameter");
  const gradients = differentiate(graph.outputs[0]!.node, wanted);
  const outputs = gradients.map((node, i) => ({ name: `d ${inputName(wanted[i]!)}`, node }));
  return makeGraph(graph.name, [...graph.outputs, ...outputs], graph.inputs, graph.updates);
}

/** As WebGPU has it: composites without a kernel are taken apart. */
const hasKernel = (node: Node): boolean => coreOf(node) !== undefined || opRecord(node.op).kind !== "composite";

const passes: readonly Pass[] = [
  canonicalize,
  fold,
  fuseAttention,
  prune,
  splitContractions({ processors: 132, halves: "matrices" }),
  selectRanges,
  tabulateIotas,
  { name: "decompose", run: (graph) => decompose(graph, () => false) },
  halfPrecision("f16", { isWhole: hasKernel, parameters: "as_given" }),
  { ...halfPrecision("f16", { isWhole: () => true, parameters: "narrowed" }), name: "half-precision-of-file" },
  { name: "differentiate", run: addGradients },
];

export function passNamed(name: string, file: string): Pass {
  const pass = passes.find((p) => p.name === name);
  if (!pass) throw new Error(`${file}: there is no pass "${name}" among ${passes.map((p) => p.name).join(", ")}`);
  return { ...pass, needs: [] }; // a golden graph is what the pass gets, in whatever way it came about
}
