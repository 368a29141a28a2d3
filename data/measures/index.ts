/** Evaluation metrics, each following its reference implementation. */
export { captionWords } from "./caption-words.ts";
export { aligned, type CaptionSample, type CaptionScores, captionScores } from "./captions.ts";
export { type LogisticModel, type LogisticOptions, logisticRegression, type Vectors } from "./logistic.ts";
export { type MmeAnswer, type MmeScore, mmeScore, mmeTasks } from "./mme.ts";
export { type NeighbourOptions, neighbourScores } from "./neighbours.ts";
export { type TopClasses, type TopClassesCount, topClasses } from "./top-classes.ts";
export { normalizedAnswer, vqaAccuracy } from "./vqa.ts";
export { mmeVerdict, popeVerdict, saysNeither, type Verdict } from "./yes-no.ts";
