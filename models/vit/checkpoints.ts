/** How checkpoints of ViTs map to models: layouts, config.json, positions of another grid, heads of other classes. */
import {
  type Config,
  type FitTensor,
  fitGridPositions,
  fitHeads,
  type ModelCheckpoints,
  type SizedByTensors,
  type TensorRule,
  UsageError,
} from "../../dsl/index.ts";
import { classesOfTensors, incidental, pictureCodec } from "../picture-config.ts";
import { timmReader } from "../timm-config.ts";
import { fieldsOf, readVitConfig, type VitType, whatOf, writeVitConfig } from "./config.ts";
import { placed, resampling, type VitConfig } from "./vit.ts";
import { dinov2Rules, timmRules, transformersDinov2Rules, transformersRules } from "./weights.ts";

const layoutsOf = (type: VitType): readonly (readonly TensorRule[])[] => {
  if (type === "vit" || type === "deit") return [transformersRules(type), timmRules];
  return type === "dinov2"
    ? [transformersDinov2Rules(type), dinov2Rules, timmRules]
    : [transformersDinov2Rules(type), dinov2Rules];
};

/** Side of the grid of stored positions [tokens, width]. */
function storedGrid(c: VitConfig, stored: readonly number[] | undefined): number | undefined {
  const [tokens = 0, width] = stored?.slice(-2) ?? [];
  const side = Math.sqrt(tokens - placed(c));
  return width === c.width && Number.isInteger(side) && side > 0 ? side : undefined;
}

/** Interpolates positions of another grid than the image's, and takes the number of classes from the stored head. */
const sizedByTensors =
  (type: VitType) =>
  (
    config: VitConfig,
    shapeOf: (tensor: string) => readonly number[] | undefined,
  ): SizedByTensors<VitConfig & Config> | undefined => {
    const names = [`${type}.embeddings.position_embeddings`, "embeddings.position_embeddings", "pos_embed"];
    const grid = storedGrid(
      config,
      names.map(shapeOf).find((shape) => shape !== undefined),
    );
    const classes = classesOfTensors(config, shapeOf, ["classifier.weight", "cls_classifier.weight", "head.weight"]);
    const known = (config.positions === 0 ? config.image : config.positions) / config.patch;
    if (grid === undefined || grid === known) return classes;
    const used = config.image / config.patch;
    const notes = [
      ...(grid === used
        ? []
        : [`positions: interpolated from the ${grid} × ${grid} patches of the weights to ${used} × ${used}`]),
      ...(classes?.note === undefined ? [] : [classes.note]),
    ];
    return {
      config: { ...(classes?.config ?? config), positions: grid === used ? 0 : grid * config.patch },
      ...(notes.length > 0 && { note: notes.join("\n") }),
    };
  };

/** Interpolates positions of another grid once, when training starts from them. */
const fitPositions = (profile: VitConfig): FitTensor =>
  fitGridPositions((parameter) => parameter === "pos_embed", {
    before: placed(profile),
    resample: resampling(profile),
  });

/** An architecture of timm, whose positions are of its images' grid. */
const timmVit = (architecture: string) =>
  timmReader<VitConfig>({
    ...{ architecture, pooling: "token", incidental },
    settings: (c, { image, classes }) => {
      if (c.head === "mean" && classes > 0)
        throw new UsageError(
          `timm's ${architecture} classifies by the class token alone; only num_classes 0 is supported`,
        );
      return { ...c, image, positions: 0, classes };
    },
  });

/**
 * A model's checkpoint settings; with `any` it is the fallback for a config.json of its type and of no profile's sizes.
 */
export const vitCheckpoints = (
  type: VitType,
  config: VitConfig,
  any: boolean,
  timmName?: string,
): ModelCheckpoints<VitConfig & Config> => ({
  layouts: layoutsOf(type),
  parts: [`${type}.`],
  fit: fitHeads(["head", "head_dist"], fitPositions(config)),
  sizedByTensors: sizedByTensors(type),
  ...(timmName !== undefined && { otherConfigs: [timmVit(timmName)] }),
  config: pictureCodec({
    ...{ type, profile: config, any, fields: fieldsOf(type), what: whatOf(type) },
    read: (json, c: VitConfig) => readVitConfig(type, json, c),
    write: (c: VitConfig) => writeVitConfig(type, c),
  }),
});
