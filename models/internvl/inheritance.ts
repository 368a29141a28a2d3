/** How checkpoints of the InternVL family fit: other names for the same tensors, and positions of another grid. */
import {
  type Config,
  checkpointFamily,
  fitGridPositions,
  type ModelCheckpoints,
  type TensorRule,
} from "../../dsl/index.ts";
import { fitPositions } from "./fit-positions.ts";
import { publishedCodec } from "./published-model.ts";
import { familyRules } from "./weights.ts";

/**
 * Parts that are published alone, without the prefix that they have in a model: InternViT, and the multilingual LLaMA that
 * the text side and QLLaMA begin as.
 */
const parts = ["vision_model.", "qllama."];

/** Positions are interpolated once, as at another resolution; nothing else can have another shape. */
export const positionsFit = fitGridPositions((parameter) => /(^|\.)embeddings\.position_embedding$/.test(parameter));

/** What a model of the family knows of checkpoints, by its name and where its parameters lie. */
export const familyCheckpoints = <C extends Config>(
  name: string,
  ...layouts: readonly (readonly TensorRule[])[]
): ModelCheckpoints<C> => ({
  layouts,
  parts,
  fit: positionsFit,
  config: publishedCodec<C>(name),
  sizedByTensors: fitPositions,
});

/** What a job of a model that is made of the family's parts goes on from. */
export const internvlCheckpoints = checkpointFamily({ layouts: [familyRules], parts, fit: positionsFit });
