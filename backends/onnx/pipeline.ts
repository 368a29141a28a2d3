/** From a graph to an ONNX model: the readable list of what happens, in order. */
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
import { shareGelu } from "./passes/share-gelu.ts";
import { softmaxAttention } from "./passes/softmax-attention.ts";
import { tabulateIotas } from "./passes/tabulate-iotas.ts";

/** Common passes that an export does without, and why. */
const without = {
  prune: "states and random numbers are inputs of a file, which keeps them; a weight that no node reads is not stored",
};

/** A file stores its parameters as they are used. Attention becomes a softmax, which may be f16; its gradients may not. */
const inFile = (options: EmitOptions): HalfOptions => ({
  isWhole: (node) => isExpressible(node, options) || isMixing(node),
  parameters: "narrowed",
});

const isMixing = (node: Node): boolean => {
  const core = coreOf(node);
  return core?.kind === "attention" && core.part === "values";
};

/**
 * The pipeline from a graph to an ONNX model, in order; each stage says what it needs from those before it. The list is the
 * same for all options: a stage that they do not ask for changes nothing.
 */
export const onnxStages = (options: EmitOptions): readonly AnyStage[] => [
  graphStage(tabulateIotas), // before fold, which computes with the tables
  ...commonStagesBut(without), // first: what follows meets few spellings; attention is found here for "operator"
  graphStage(halfPrecision(options.precision, inFile(options))), // while ops are whole: f16 is decided for a norm or an attention, not for its parts
  graphStage(softmaxAttention(options)), // before decompose, which would spell the gradients with exp(logits - lse)
  graphStage(shareGelu), // before decompose, which takes a gelu apart that has no operator
  graphStage(joinPads),
  {
    ...graphStage(decomposeFor(() => (node) => isExpressible(node, options))),
    needs: ["softmax-attention", "share-gelu"],
  },
  graphStage(expressible(options)), // after decompose: what is left is emitted as it is
  stage("plan-export", graphForm, planForm, (graph) => planExport(graph, options), ["expressible"]), // wishes are those of the nodes that are emitted
  stage("emit", planForm, bodyForm, (plan) => emitGraph(plan, options)),
  stage("drop-unused", bodyForm, bodyForm, dropUnused), // before place-inputs: what only unused nodes read is not stored
  stage("place-inputs", bodyForm, bodyForm, placeInputs, ["drop-unused"]),
  stage("quantize-weights", bodyForm, bodyForm, quantizeWeights, ["place-inputs"]), // a weight that is made into several views stays as it is
  stage("name-outputs", bodyForm, bodyForm, nameOutputs), // last: stages before may replace the value that is an output
  stage("assemble", bodyForm, modelForm, assemble, ["place-inputs", "name-outputs"]),
];

export interface OnnxExport extends OnnxModel {
  /** The graph as it was given. */
  readonly graph: Graph;
}

/** Throws UsageError for options that exclude each other and UnsupportedError naming every op that cannot be expressed. */
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
