/** ViT, DeiT and DINOv2 as named models. */
import {
  type AnyTensor,
  axisOf,
  count,
  defineModel,
  imagenetPreprocessing,
  type Model,
  type Preprocessing,
  positive,
  type SettingRules,
  type StageRecipe,
  share,
  type Tokens,
  transpose,
  whole,
  word,
} from "../../dsl/index.ts";
import { pixelsInput } from "../classification.ts";
import { vitCheckpoints } from "./checkpoints.ts";
import type { VitType } from "./config.ts";
import { deitClasses, dinov2Classes, vitClasses } from "./stages.ts";
import { tokensBefore, type VitConfig, vitFeatures, vitScores, vitStates } from "./vit.ts";

export { readVitConfig, type VitType, writeVitConfig } from "./config.ts";
export { tokensBefore, type VitConfig, vitFeatures, vitScores, vitStates } from "./vit.ts";

import { listed } from "../listed.ts";

const pixels = whole(1, 2 ** 14);

const rules: SettingRules = {
  ...{ width: count, depth: whole(1, 1000), heads: count, mlp: count, image: pixels, patch: pixels },
  positions: whole(0, 2 ** 14),
  classes: whole(0, 2 ** 20),
  epsilon: positive,
  head: word("class", "distilled", "mean"),
  registers: whole(0, 1024),
  feedForward: word("gelu", "swiglu"),
  dropPath: share,
};

/** Table 1 of ViT, table 1 of DeiT for the small ones, and DINOv2's giant. */
const sizes = {
  ti: { width: 192, depth: 12, heads: 3, mlp: 768 },
  s: { width: 384, depth: 12, heads: 6, mlp: 1536 },
  b: { width: 768, depth: 12, heads: 12, mlp: 3072 },
  l: { width: 1024, depth: 24, heads: 16, mlp: 4096 },
  h: { width: 1280, depth: 32, heads: 16, mlp: 5120 },
  g: { width: 1536, depth: 40, heads: 24, mlp: 4096 },
} as const;
type Size = keyof typeof sizes;

/** As timm calls the sizes. */
const words: Readonly<Record<Size, string>> = {
  ...{ ti: "tiny", s: "small", b: "base", l: "large", h: "huge", g: "giant" },
};
const letters: Readonly<Record<Size, string>> = { ti: "Ti", s: "S", b: "B", l: "L", h: "H", g: "g" };

interface Profile {
  readonly name: string;
  readonly summary: string;
  readonly type: VitType;
  readonly config: VitConfig;
  readonly paper: string;
  readonly preprocessing: Preprocessing;
  readonly classes: StageRecipe<VitConfig>;
  /** Whether it is the fallback for a config.json of the type that matches no other profile. */
  readonly any: boolean;
  /** The architecture's name in timm, without the size of images. */
  readonly timm?: string;
}

const ordered = (x: Tokens): Tokens =>
  transpose(
    x,
    (["batch", "token", "embed"] as const).map((a) => axisOf(x, a)),
  );

/** Four patches, with interpolated positions if those are of another grid. */
const tinyOf = ({ patch, positions, classes }: VitConfig) => ({
  ...{ width: 16, depth: 2, heads: 2, mlp: 32, image: 2 * patch },
  ...{ positions: positions === 0 ? 0 : 3 * patch, classes: Math.min(classes, 10) },
});

const model = (profile: Profile): Model =>
  listed(
    defineModel<VitConfig>({
      name: profile.name,
      summary: profile.summary,
      config: profile.config,
      configs: { tiny: tinyOf(profile.config) },
      rules,
      paper: { source: profile.paper },
      preprocessing: profile.preprocessing,
      modes: { features: { graph: "states", before: tokensBefore }, classify: { output: "scores" } },
      stages: { classes: profile.classes },
      checkpoints: vitCheckpoints(profile.type, profile.config, profile.any, profile.timm),
      build: (p, c): Readonly<Record<string, AnyTensor>> =>
        c.classes > 0
          ? { scores: vitScores(p, pixelsInput(c), c) }
          : { features: ordered(vitFeatures(p, pixelsInput(c), c)) },
      graphs: {
        states: {
          summary: "all tokens before the first block and after each, for feature extraction",
          build: (p, c) =>
            Object.fromEntries(vitStates(p, pixelsInput(c), c).map((x, block) => [`block.${block}`, ordered(x)])),
        },
      },
    }),
  );

const plain = { positions: 0, epsilon: 1e-6, registers: 0, layerScale: 0, feedForward: "gelu", dropPath: 0 } as const;
const half = [0.5, 0.5, 0.5] as const;

const vit = (size: Size, patch: number, any = false): Model =>
  model({
    name: `vit-${size}-${patch}`,
    summary: `ViT-${letters[size]}/${patch}: ${sizes[size].depth} blocks of width ${sizes[size].width}, 1000 classes of ImageNet`,
    type: "vit",
    config: { ...plain, ...sizes[size], image: 224, patch, head: "class", classes: 1000 },
    paper: "Dosovitskiy et al. 2021, arXiv:2010.11929",
    preprocessing: { margin: 248 / 224, mean: half, std: half },
    classes: vitClasses,
    any,
    timm: `vit_${words[size]}_patch${patch}`,
  });

const fromResized: Preprocessing = { ...imagenetPreprocessing, margin: 256 / 224 };

const deit = (size: Size, isDistilled: boolean): Model =>
  model({
    name: `deit-${size}-16${isDistilled ? "-distilled" : ""}`,
    summary: `DeiT-${letters[size]}${isDistilled ? " with a distillation token and head" : ""}: 1000 classes of ImageNet`,
    type: isDistilled ? "deit" : "vit",
    config: {
      ...{ ...plain, ...sizes[size], image: 224, patch: 16, head: isDistilled ? "distilled" : "class", classes: 1000 },
      dropPath: 0.1,
    },
    paper: "Touvron et al. 2021, arXiv:2012.12877",
    preprocessing: fromResized,
    classes: deitClasses,
    any: isDistilled && size === "b",
    timm: `deit_${words[size]}${isDistilled ? "_distilled" : ""}_patch16`,
  });

const dinov2 = (size: Size, registers: number): Model =>
  model({
    name: `dinov2-vit-${size}-14${registers > 0 ? "-registers" : ""}`,
    summary: `DINOv2 ViT-${letters[size]}/14${registers > 0 ? ` with ${registers} registers` : ""}: all tokens; classes=1000 for a linear classifier`,
    type: registers > 0 ? "dinov2_with_registers" : "dinov2",
    config: {
      ...{ ...plain, ...sizes[size], image: 224, patch: 14, positions: 518, head: "mean", classes: 0 },
      ...{ registers, layerScale: 1e-5, feedForward: size === "g" ? "swiglu" : "gelu" },
    },
    paper: registers > 0 ? "Darcet et al. 2024, arXiv:2309.16588" : "Oquab et al. 2023, arXiv:2304.07193",
    preprocessing: fromResized,
    classes: dinov2Classes,
    any: size === "b",
    // With registers, timm's positions leave out the class token.
    ...(registers === 0 && { timm: `vit_${words[size]}_patch14_dinov2` }),
  });

const [taught, dinov2Sizes] = [["ti", "s", "b"] as const, ["s", "l", "g", "b"] as const];

/** For each type of config.json, the last is the fallback for unpublished sizes. */
export const vitFamily: readonly Model[] = [
  ...[vit("ti", 16), vit("s", 16), vit("l", 16), vit("h", 14), vit("b", 32)],
  ...[false, true].flatMap((isDistilled) => taught.map((size) => deit(size, isDistilled))),
  vit("b", 16, true),
  ...[0, 4].flatMap((registers) => dinov2Sizes.map((size) => dinov2(size, registers))),
];
