/** The persistent state of a training step. */

/** Names of a training step's state in the store. */
export const trainingState = {
  parameters: "train.parameters",
  average: "train.average",
  step: "train.step",
  lossScale: "train.loss_scale",
  goodSteps: "train.good_steps",
} as const;

/** The name in the store of an update rule's state. */
export const optimizerState = (name: string): string => `train.${name}`;
