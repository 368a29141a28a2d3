/** Validation of a stage on held-out samples, as one graph of the model in inference mode. */
import { type Graph, inputName, makeGraph, type Node, UsageError } from "../compiler/index.ts";
import type { Axis } from "./axis.ts";
import { totalLoss } from "./losses.ts";
import { axisOf } from "./nn/axes.ts";
import { type Params, rootParams } from "./params.ts";
import type { Stage } from "./stage.ts";
import { type AnyTensor, argmax, type Tensor, transpose } from "./tensor.ts";

/** What is evaluated besides the loss. Inputs are those of the loss. */
export interface Judged {
  /** Unit vectors of images and of their texts, for retrieval in both directions among all samples. */
  readonly found?: Readonly<Record<"image" | "text", Tensor<"batch" | "feature">>>;
  /**
   * Logits [batch, ..., class], and the input i32 [batch, ...] of correct classes; values that are no class are
   * ignored.
   */
  readonly classified?: { readonly scores: AnyTensor; readonly label: AnyTensor };
}

/** Traced without dropout or patch dropping; `p` shares the parameters that the loss declared. */
export type StageValidation = (p: Params) => Judged;

/** The graph that validation runs, and the roles of its outputs. */
export interface ValidationGraph {
  /** Outputs: `loss` and the stage's metrics, `weight` if the loss has one, `image` and `text`, `predicted`. */
  readonly graph: Graph;
  /** Scalar outputs that are means over the samples of a batch, or weighted by `weight`. */
  readonly means: readonly string[];
  /** The input with the correct classes, and the number of classes. */
  readonly classified?: { readonly label: string; readonly classes: number };
  readonly found: boolean;
}

const ownOutputs = ["weight", "image", "text", "predicted"] as const;

/** The validation graph of a stage. Throws UsageError if a metric has the name of one of its outputs. */
export function validationGraph(stage: Stage, judge: StageValidation = () => ({})): ValidationGraph {
  const root = rootParams();
  const { loss, metrics = {}, weight } = totalLoss(stage.name, stage.loss(root));
  const taken = ownOutputs.find((name) => Object.hasOwn(metrics, name));
  if (taken)
    throw new UsageError(
      `stage "${stage.name}": the metric name "${taken}" is reserved for validation: rename the metric`,
    );
  const { found, classified } = judge(root.shared());
  const means: Record<string, Node> = { loss, ...metrics };
  const outputs: Record<string, Node> = {
    ...means,
    ...(weight && { weight }),
    ...(found && { image: asRows(found.image), text: asRows(found.text) }),
    ...(classified && { predicted: asLabels(classified) }),
  };
  const graph = makeGraph(
    `${stage.name}-validation`,
    Object.entries(outputs).map(([name, node]) => ({ name, node })),
  );
  return {
    graph,
    means: Object.keys(means),
    found: found !== undefined,
    ...(classified && {
      classified: {
        label: labelIn(graph, classified.label),
        classes: classAxis(classified.scores).size as number,
      },
    }),
  };
}

const asRows = (x: Tensor<"batch" | "feature">) => transpose(x, [axisOf(x, "batch"), axisOf(x, "feature")]);

/** The argmax class, with axes in the order of the labels. */
const asLabels = ({ scores, label }: NonNullable<Judged["classified"]>) =>
  transpose(argmax(scores, classAxis(scores)) as AnyTensor, label.type.axes as Axis[]);

const classAxis = (scores: AnyTensor) => axisOf(scores, "class");

function labelIn({ name, inputs }: Graph, label: Node): string {
  if (inputs.includes(label)) return inputName(label);
  throw new UsageError(`@${name}: the label to compare with must be an input of the stage`);
}
