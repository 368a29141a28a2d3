/** OpenCLIP's config of an EVA-CLIP, whose image tower is named as in timm. */
import { type ConfigCodec, type JsonRecord, shown, UsageError } from "../../dsl/index.ts";
import { openClipFile, openFieldNotes, readOpenClip, readSide, writeOpenClip } from "../clip/open-config.ts";
import { all, checkFields, type Fields, only, trained } from "../config-fields.ts";
import type { EvaClipConfig, EvaConfig } from "./vision.ts";

const visionWhat = "vision_cfg";
const visionFields: Fields = {
  ...all("read", "timm_model_name image_size"),
  ...all("none", "timm_model_pretrained timm_proj_bias output_tokens layers width head_width mlp_ratio patch_size"),
  timm_pool: only("token"),
  timm_proj: only(null, ""),
  timm_drop: trained(0),
  patch_dropout: trained(0),
  timm_drop_path: "none", // of training, where the record has its own
};

/** Settings that a config does not have, or has otherwise. */
const incidental = ["text.eos", "vision.dropPath"];

/** The codec of the towers with these names in timm. */
export const evaCodec = (towers: Readonly<Record<string, EvaConfig>>): ConfigCodec<EvaClipConfig> => ({
  file: openClipFile,
  types: ["eva-clip"],
  incidental,
  read: (json) => {
    const { vision: given, text, embed } = readOpenClip(json);
    checkFields(given, visionFields, visionWhat);
    for (const [field, usual] of [
      ["timm_pool", "avg"],
      ["timm_proj", "linear"],
    ] as const)
      if (!Object.hasOwn(given, field))
        throw new UsageError(
          `${visionWhat}: "${field}" is missing, which stands for "${usual}"; this is not supported`,
        );
    return { vision: towerOf(towers, given), text, embed };
  },
  notes: (json) => openFieldNotes(json, visionFields, visionWhat),
  write: ({ vision, text, embed }) => {
    const name = Object.keys(towers).find((tower) => isTower(towers[tower]!, vision));
    const said = name !== undefined && { image_size: vision.image, timm_model_name: name };
    return writeOpenClip(
      said ? { ...said, timm_model_pretrained: false, timm_pool: "token", timm_proj: null } : undefined,
      text,
      embed,
      true,
    );
  },
});

/** Whether a tower is one of timm's, where drop path is no part of the name. */
const isTower = (tower: EvaConfig, other: EvaConfig): boolean =>
  Object.keys(tower).every((key) => key === "dropPath" || tower[key] === other[key]);

function towerOf(towers: Readonly<Record<string, EvaConfig>>, json: JsonRecord): EvaConfig {
  const { timm_model_name: name } = json;
  const tower = typeof name === "string" ? name.replace(/\.\w+$/, "") : ""; // without a tag of weights
  if (!Object.hasOwn(towers, tower))
    throw new UsageError(
      `${visionWhat}: "timm_model_name" is ${shown(name)}; expected one of ${Object.keys(towers).join(", ")}`,
    );
  const image = readSide({ image_size: 224, ...json }, visionWhat);
  if (image !== towers[tower]!.image)
    throw new UsageError(
      `${visionWhat}: "image_size" is ${image}, but ${tower} has images of ${towers[tower]!.image} pixels`,
    );
  return towers[tower]!;
}
