/** What a training step keeps in a store, by name. */

/** Names of the state that a training step keeps in a store. */
export const trainingState = {
  parameters: "train.parameters",
  step: "train.step",
  lossScale: "train.loss_scale",
  goodSteps: "train.good_steps",
} as const;

/** The name in a store of what an update rule keeps. */
export const optimizerState = (name: string): string => `train.${name}`;
