/** The export pipeline from a graph to an ONNX model. */
import {
  type AnyStage,
  commonStagesBut,
  coreOf,
  decomposeFor,
  type Graph,
  graphForm,
  graphStage,
  type HalfOptions,
  halfPrecision,
  joinPads,
  type Node,
  type RunOptions,
  runStages,
  stage,
  withoutCapture,
} from "../../compiler/index.ts";
import { emitGraph } from "./emit/emit-graph.ts";
import { planExport } from "./emit/plan-export.ts";
import { isExpressible } from "./emit/table.ts";
import { type Body, bodyForm, bodyModel } from "./forms/body.ts";
import { modelForm, type OnnxModel } from "./forms/model.ts";
import { planForm } from "./forms/plan.ts";
import { dropUnused } from "./nodes/drop-unused.ts";
import { nameOutputs } from "./nodes/name-outputs.ts";
import { placeInputs } from "./nodes/place-inputs.ts";
import { quantizeWeights } from "./nodes/quantize.ts";
import { type EmitOptions, type ExportOptions, settledOptions } from "./options.ts";
import { expressible } from "./passes/expressible.ts";
import { roundOperands } from "./passes/round-operands.ts";
import { selectRanges } from "./passes/select-ranges.ts";
import { shareGelu } from "./passes/share-gelu.ts";
import { softmaxAttention } from "./passes/softmax-attention.ts";
import { tabulateIotas } from "./passes/tabulate-iotas.ts";

/** Common passes that an export skips, and why. */
const without = {
  prune: "states and random numbers are inputs of a file, which keeps them; a weight that no node reads is not stored",
};

/**
 * A file stores parameters in the dtype they are used in. Attention becomes a softmax, which may be f16; its gradients
 * may not.
 */
const inFile = (options: EmitOptions): HalfOptions => ({
  isWhole: (node) => isExpressible(node, options) || isMixing(node),
  parameters: "narrowed",
});

const isMixing = (node: Node): boolean => {
  const core = coreOf(node);
  return core?.kind === "attention" && core.part === "values";
};

/**
 * The stages from a graph to an ONNX model, in order; each declares the earlier stages it needs. The list is the same
 * for all options: a stage that the options do not enable changes nothing.
 */
export const onnxStages = (options: EmitOptions): readonly AnyStage[] => [
  graphStage(selectRanges), // before tabulate-iotas, which makes conditions constant tables
  graphStage(tabulateIotas), // before fold, which folds the tables
  ...commonStagesBut(without), // first, to canonicalize for the rest; finds attention for "operator"
  graphStage(halfPrecision(options.precision, inFile(options))), // before decompose: f16 per norm or attention
  graphStage(softmaxAttention(options)), // before decompose, which would use exp(logits - lse) in the gradients
  graphStage(shareGelu), // before decompose, which expands a gelu without an operator
  graphStage(joinPads),
  {
    ...graphStage(decomposeFor(() => (node) => isExpressible(node, options))),
    needs: ["softmax-attention", "share-gelu"],
  },
  graphStage(expressible(options)), // after decompose: the remaining ops are emitted as they are
  // Layout wishes are of the final nodes.
  stage("plan-export", graphForm, planForm, (graph) => planExport(graph, options), ["expressible"]),
  stage("emit", planForm, bodyForm, (plan) => emitGraph(plan, options)),
  stage("drop-unused", bodyForm, bodyForm, dropUnused), // before place-inputs: inputs of unused nodes are not stored
  stage("place-inputs", bodyForm, bodyForm, placeInputs, ["drop-unused"]),
  // A weight from which other views are derived stays in floats.
  stage("quantize-weights", bodyForm, bodyForm, quantizeWeights, ["place-inputs"]),
  stage("name-outputs", bodyForm, bodyForm, nameOutputs), // last: earlier stages may replace an output's value
  stage("assemble", bodyForm, modelForm, assemble, ["place-inputs", "name-outputs"]),
];

export interface OnnxExport extends OnnxModel {
  /** The original graph. */
  readonly graph: Graph;
}

/** Throws UsageError for incompatible options, and UnsupportedError naming every op that cannot be expressed. */
export function exportOnnx(graph: Graph, options: ExportOptions & RunOptions = {}): OnnxExport {
  const stages = onnxStages(settledOptions(options));
  return withoutCapture(() => ({ ...runStages(graph, stages, modelForm, options), graph }));
}

const assemble = (body: Body): OnnxModel => ({
  model: bodyModel(body),
  ...(body.rounded && { rounded: roundOperands(body.graph, body.rounded) }),
  opset: body.options.opset,
  stored: body.stored,
  bound: body.bound,
  outputs: Object.fromEntries(body.results.map((r) => [r.output, r.to])),
});
