/** How a stage's images are preprocessed: as the checkpoint that it starts from says, else as the model's record. */
import { join } from "node:path";
import { scaledSize } from "../../compiler/index.ts";
import type { Geometry } from "../../data/index.ts";
import {
  type ImagePlan,
  imagenetPreprocessing,
  type JsonRecord,
  type Model,
  pixelValues,
  type Recipe,
} from "../../dsl/index.ts";
import { writeFileAtomically } from "../../runtime/index.ts";
import { json } from "../output.ts";
import { imagesText, shapeText, sourceText, tilingText } from "../preprocessing-text.ts";
import {
  type CheckpointPreprocessing,
  preprocessingIn,
  preprocessorFile,
  storedPreprocessor,
} from "../preprocessor-config.ts";

/**
 * The content of the first source's `preprocessor_config.json`, as a run keeps it in its settings: a resumed run
 * preprocesses images as it began, wherever its sources are. Empty if no source has one.
 */
export async function preprocessorBeside(sources: readonly string[]): Promise<string> {
  for (const source of sources) {
    const found = await storedPreprocessor(source);
    if (found) return JSON.stringify(found.stored);
  }
  return "";
}

/** Writes the file into a run's folder, for commands and runs that start from it. */
export async function keepPreprocessor(content: string, folder: string): Promise<void> {
  if (content !== "") await writeFileAtomically(join(folder, preprocessorFile), `${json(JSON.parse(content))}\n`);
}

/** A recipe with its images as they are preprocessed, and a line about that. */
export interface SeenRecipe {
  readonly recipe: Recipe;
  readonly report: readonly string[];
}

/**
 * The recipe with its images preprocessed as `preprocessor` says, the content of a preprocessor_config.json, or else as
 * the model's record does unless the stage's data does. Throws FileError naming an unsupported field.
 */
export function seenBy(model: Model, recipe: Recipe, preprocessor: string): SeenRecipe {
  const { data } = recipe;
  if (!data?.image) return { recipe, report: [] };
  const path = `${preprocessorFile} beside the initial weights`;
  const found =
    preprocessor === ""
      ? undefined
      : preprocessingIn({ path, stored: JSON.parse(preprocessor) as JsonRecord }, data.image.size);
  const image = { ...ofRecord(model, recipe), ...data.image, ...(found && ofFile(found, model, recipe)) };
  return { recipe: { ...recipe, data: { ...data, image } }, report: [textOf(image, model, recipe, found)] };
}

function ofRecord({ preprocessing }: Model, { data }: Recipe): Partial<ImagePlan> {
  if (!preprocessing) return {};
  const { margin, interpolation } = preprocessing;
  return {
    normalization: pixelValues(preprocessing),
    ...(interpolation && { interpolation }),
    ...(margin !== undefined && data!.kind !== "masks" && { cover: scaledSize(data!.image!.size, margin) }),
  };
}

/**
 * The file's mean, std and filter, and its geometry unless the stage has another fit on purpose: one that is not the
 * only fit of the model's record. Images with masks are cropped with them, and tiles are the stage's.
 */
function ofFile(found: CheckpointPreprocessing, { preprocessing }: Model, { data }: Recipe): Partial<ImagePlan> {
  const { fit, tiles } = data!.image!;
  const { interpolation, ...shape } = found.geometry;
  const usual = preprocessing?.fit ?? "crop";
  const isFiles = data!.kind !== "masks" && tiles === undefined && (shape.fit === fit || usual === fit);
  return { normalization: pixelValues(found), ...(interpolation && { interpolation }), ...(isFiles && shape) };
}

function textOf(image: ImagePlan, { name, preprocessing }: Model, { data }: Recipe, found?: CheckpointPreprocessing) {
  const values = pixelValues(image.normalization ?? imagenetPreprocessing);
  const geometry: Geometry = image;
  const shape = image.tiles ? tilingText(image.tiles, geometry) : shapeText(geometry);
  const ofStage = data!.image!.normalization ? "from the stage" : preprocessing && `from ${name}`;
  const kept =
    found && found.geometry.fit !== image.fit
      ? `; ${image.fit} is the stage's, the file's is ${found.geometry.fit}`
      : "";
  const reduced =
    found?.firstClass && data!.kind === "masks"
      ? "; do_reduce_labels, by which 0 is no class, is left to the stage"
      : "";
  const source = found
    ? `${sourceText(found)}${kept}${reduced}`
    : (ofStage ?? `assumed, since ${name} does not specify it`);
  return imagesText({ ...values, size: image.size, shape, source });
}
