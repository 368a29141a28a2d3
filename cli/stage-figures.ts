/** What a training step is, in figures: parameters, what is trained, and the settings of its stage. */
import { countParameters, type Node, type Precision, type SizedAxis } from "../compiler/index.ts";
import { digits } from "./output.ts";
import type { TrainingSubject } from "./training-subject.ts";

export interface ParameterFigures {
  /** Elements of all parameters of the model. */
  readonly all: number;
  readonly tensors: number;
  readonly trained: number;
  readonly trainedTensors: number;
}

const elements = (nodes: readonly Node[]): number =>
  nodes.reduce((n, { type }) => n + (type.axes as readonly SizedAxis[]).reduce((m, a) => m * a.size, 1), 0);

/** Of the model where that is known; else of what the step reads. */
export function parameterFigures({ step, model }: Pick<TrainingSubject, "step" | "model">): ParameterFigures {
  const { trained, frozen } = step;
  const whole = model && countParameters(model);
  // Low-rank updates are no parameters of the plain model.
  return {
    all: whole?.parameters ?? elements([...trained, ...frozen]),
    tensors: whole?.tensors ?? trained.length + frozen.length,
    trained: elements(trained),
    trainedTensors: trained.length,
  };
}

export const describeParameters = (p: ParameterFigures): [string, string][] => [
  ["parameters", `${digits(p.all)} in ${digits(p.tensors)} tensors`],
  ["  trained", `${digits(p.trained)} in ${digits(p.trainedTensors)} tensors`],
];

/** How a stage trains, as far as its step shows it. */
export interface StageSettings {
  readonly rule: string;
  readonly precision: Precision;
  /** Micro-batches of an update. */
  readonly accumulate: number;
  /** Low-rank updates of weights. */
  readonly lora: number;
  /** Whether an average of the weights is kept. */
  readonly ema: boolean;
}

export const stageSettings = ({
  rule,
  precision,
  accumulation,
  adapters,
  arenas,
}: TrainingSubject["step"]): StageSettings => ({
  rule: rule.name,
  precision,
  accumulate: accumulation?.count ?? 1,
  lora: adapters?.length ?? 0,
  ema: arenas.some((a) => a.average !== undefined),
});
