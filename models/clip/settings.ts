/** Rules of the settings of CLIP's towers. */
import { listOf, positive, type SettingRules, whole, word } from "../../dsl/index.ts";
import { activations } from "./transformer.ts";

const sizes = whole(1, 2 ** 20);

const towerSettings: SettingRules = {
  width: sizes,
  depth: whole(1, 1000),
  heads: sizes,
  mlp: sizes,
  activation: word(...Object.keys(activations)),
  epsilon: positive,
};

/** Image and patch sizes. */
export const pictureSettings: SettingRules = { image: whole(1, 2 ** 14), patch: whole(1, 2 ** 14) };

export const textSettings: SettingRules = {
  ...towerSettings,
  vocab: sizes,
  context: sizes,
  eos: whole(0, 2 ** 20),
};

export const clipSettings: SettingRules = {
  vision: { ...towerSettings, ...pictureSettings },
  text: textSettings,
  embed: sizes,
};

export const clipResNetSettings: SettingRules = {
  vision: { width: sizes, blocks: listOf(whole(1, 1000)), image: pictureSettings.image!, heads: sizes },
  text: textSettings,
  embed: sizes,
};
