/**
 * How checkpoints of the InternVL family map to the models: other names for the same tensors, and positions of another
 * grid.
 */
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
 * Prefixes of parts that are also published alone, without them: InternViT, and the multilingual LLaMA that initializes
 * the text tower and QLLaMA.
 */
const parts = ["vision_model.", "qllama."];

/** Position embeddings are interpolated at loading; no other parameter may change shape. */
export const positionsFit = fitGridPositions((parameter) => /(^|\.)embeddings\.position_embedding$/.test(parameter));

/** The checkpoint settings of a model of the family, from its name and layouts. */
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

/** The checkpoints from which a job on a model built of the family's parts can start. */
export const internvlCheckpoints = checkpointFamily({ layouts: [familyRules], parts, fit: positionsFit }, {});
