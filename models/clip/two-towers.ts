/** A model record of an image tower beside CLIP's text tower: all that commands need, whatever the tower. */
import {
  type AnyTensor,
  type Axis,
  axisOf,
  type CompareMode,
  type Config,
  defineModel,
  type Model,
  type ModelCheckpoints,
  type Params,
  type Preprocessing,
  type SettingRules,
  transpose,
} from "../../dsl/index.ts";
import { compared, type PictureTower, type TwoTowers } from "./clip.ts";
import { contrastive, type Training } from "./stages.ts";
import { type Picture, pictures } from "./vision.ts";

/** Resize of the short side, then a centre crop. */
const preprocessing: Preprocessing = {
  fit: "crop",
  interpolation: "bicubic",
  mean: [0.48145466, 0.4578275, 0.40821073],
  std: [0.26862954, 0.26130258, 0.27577711],
};

/** Special tokens by the tokenizer's template; padding with 0, which causal attention hides. */
const compare: CompareMode = { special: "template", pad: 0 };

export interface TwoTowersRecord<V, C extends Config> {
  readonly name: string;
  readonly summary: string;
  readonly source: string;
  readonly config: C;
  readonly configs: Readonly<Record<string, Config>>;
  readonly rules: SettingRules;
  readonly training: Training;
  /** A second phase with all patches, if the first drops some. */
  readonly tuning?: Training;
  readonly checkpoints: ModelCheckpoints<C>;
  readonly tower: PictureTower<V>;
  /** The tower's intermediate states of an image. */
  readonly states: (p: Params, pixels: Picture, c: V) => readonly AnyTensor[];
  /** The axes of a state in `features`; default those of tokens, class token first. */
  readonly stateAxes?: readonly string[];
}

export function twoTowers<V extends { readonly image: number }, C extends Config & TwoTowers<V>>(
  record: TwoTowersRecord<V, C>,
): Model<C> {
  const { name, summary, source, config, configs, rules, training, checkpoints, tower, states, stateAxes } = record;
  const { tuning } = record;
  const second = { name: "unmasked", startsFrom: "contrastive" };
  return defineModel<C>({
    ...{ name, summary, config, configs, rules, checkpoints, preprocessing },
    paper: { source },
    stages: {
      contrastive: contrastive(tower, training),
      ...(tuning && { unmasked: contrastive(tower, tuning, second) }),
    },
    modes: { features: { graph: "states", before: stateAxes ? 0 : 1 }, compare },
    build: (p, c) => {
      const { image, text, scale } = compared(p, c, tower);
      return { image, text, scale };
    },
    graphs: {
      states: {
        summary: "the image tower's tokens before the first block and after each, for feature extraction",
        build: (p, c) => asFeatures(states(p.scope("vision"), pictures(c.vision), c.vision), stateAxes),
      },
    },
  });
}

/** States as outputs of the `features` graph; default axes those of tokens. */
export const asFeatures = (states: readonly AnyTensor[], axes: readonly string[] = ["batch", "token", "embed"]) =>
  Object.fromEntries(
    states.map((x, block) => {
      const order = axes.map((a) => axisOf(x, a) as Axis);
      return [`block.${block}`, transpose(x, order)];
    }),
  );
