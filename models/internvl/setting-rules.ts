/** Rules of the family's settings. */
import { listOf, positive, type SettingRules, share, whole, word } from "../../dsl/index.ts";

/** Widths, tokens, vocabulary sizes. With `depths` it keeps a tower's parameter count below 2^53, and so exact. */
const sizes = whole(1, 2 ** 20);
const depths = whole(1, 1000);
const pixels = whole(1, 2 ** 14);

export const visionSettings: SettingRules = {
  width: sizes,
  depth: depths,
  heads: sizes,
  mlp: sizes,
  image: pixels,
  patch: pixels,
  positions: whole(0, 2 ** 14),
  dropPath: share,
  dropPathRule: word("uniform", "linear"),
  layerScale: positive,
};

export const textSettings: SettingRules = {
  width: sizes,
  depth: depths,
  heads: sizes,
  mlp: sizes,
  vocab: sizes,
  context: whole(0, 2 ** 20),
  epsilon: positive,
  rotaryBase: positive,
  keyHeads: sizes,
  headDim: sizes,
  maxPositions: whole(1, 2 ** 24),
};

const qllamaSettings: SettingRules = { ...textSettings, queries: sizes, crossEvery: depths };

export const qllamaAloneSettings: SettingRules = { ...qllamaSettings, visionWidth: sizes, visionTokens: sizes };

const pooling: SettingRules = { embed: sizes, poolingHeads: sizes };

export const contrastiveSettings: SettingRules = { vision: visionSettings, text: textSettings, ...pooling };

export const generativeSettings: SettingRules = { vision: visionSettings, text: qllamaSettings, ...pooling };

export const chatSettings: SettingRules = {
  vision: visionSettings,
  text: textSettings,
  qllama: qllamaSettings,
  features: whole(-1000, -1),
};

export const probeSettings: SettingRules = {
  vision: visionSettings,
  classes: sizes,
  features: word("concat", "pooling"),
  ...pooling,
};

export const segmentationSettings: SettingRules = {
  vision: visionSettings,
  classes: sizes,
  blocks: listOf(depths),
  channels: whole(0, 2 ** 20),
  auxiliary: whole(0, 3),
  dropout: share,
};
