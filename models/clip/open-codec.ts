/** OpenCLIP's config of a CLIP with a vision transformer or a ResNet. */
import { type ConfigCodec, type ConfigReader, type JsonRecord, shown, UsageError } from "../../dsl/index.ts";
import { checkFields, fieldReader } from "../config-fields.ts";
import type { ClipConfig } from "./clip.ts";
import {
  openClipFile,
  openFieldNotes,
  openVisionFields,
  readBlocks,
  readOpenClip,
  readSide,
  writeOpenClip,
} from "./open-config.ts";
import type { ClipResNetModelConfig } from "./resnet.ts";

const visionWhat = "vision_cfg";
const usual = { image_size: 224, head_width: 64 };

/** Texts end at the largest id, which is that of EOS in CLIP's vocabulary. */
const incidental = ["text.eos"];
const shared = {
  file: openClipFile,
  incidental,
  notes: (json: JsonRecord) => openFieldNotes(json, openVisionFields, visionWhat),
};

export const openClipReader: ConfigReader<ClipConfig> = {
  ...shared,
  types: ["clip"],
  read: (json) => {
    const { vision: given, text, embed, activation } = readOpenClip(json);
    checkFields(given, openVisionFields, visionWhat);
    const vision = { width: 768, layers: 12, patch_size: 16, ...usual, ...given };
    const blocks = readBlocks(vision, visionWhat, activation);
    const { size } = fieldReader(vision, visionWhat);
    const heads = Math.floor(blocks.width / size("head_width"));
    return {
      vision: { ...blocks, heads, image: readSide(vision, visionWhat), patch: size("patch_size") },
      ...{ text, embed },
    };
  },
};

export const openResNetCodec: ConfigCodec<ClipResNetModelConfig> = {
  ...shared,
  types: ["clip-resnet"],
  read: (json) => {
    const { vision: given, text, embed } = readOpenClip(json);
    checkFields({ ...given, patch_size: undefined }, openVisionFields, visionWhat);
    const vision = { width: 64, ...usual, ...given };
    const { size } = fieldReader(vision, visionWhat);
    const [width, image] = [size("width"), readSide(vision, visionWhat)];
    const heads = Math.floor((width * 32) / size("head_width"));
    return { vision: { width, blocks: blocksIn(vision), image, heads }, text, embed };
  },
  write: ({ vision: { width, blocks, image, heads }, text, embed }) =>
    (width * 32) % heads === 0
      ? writeOpenClip(
          { image_size: image, layers: blocks, width, head_width: (width * 32) / heads, patch_size: null },
          text,
          embed,
        )
      : undefined,
};

/** The blocks of a ResNet's four stages. */
function blocksIn({ layers }: JsonRecord): readonly number[] {
  if (Array.isArray(layers) && layers.length === 4 && layers.every((n) => Number.isInteger(n) && n > 0 && n <= 1000))
    return layers;
  throw new UsageError(`${visionWhat}: "layers" is ${shown(layers)}; expected four numbers of blocks`);
}
