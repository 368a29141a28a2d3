/** Image preprocessing of a mode: the model's size, the mode's fit, mean and std from the record or the checkpoint. */
import { existsSync } from "node:fs";
import { extname } from "node:path";
import {
  type Dim,
  FileError,
  type Graph,
  type HostTensor,
  type ImageSize,
  printDim,
  scaledSize,
  sizeOfSides,
  sizeText,
  squareSide,
  UsageError,
} from "../../../compiler/index.ts";
import {
  decodeImage,
  decodeTiles,
  type Geometry,
  type ImageSource,
  type ImageStore,
  imageStore,
  imageTensor,
  meanColour,
  type Normalization,
  type Pixels,
  type Tiling,
} from "../../../data/index.ts";
import {
  imagenetPreprocessing,
  type PictureMode,
  type Preprocessing,
  pixelValues,
  type TileLimits,
} from "../../../dsl/index.ts";
import { sizesOfSides } from "../../image-sides.ts";
import { imagesText, shapeText, sourceText, tilingText } from "../../preprocessing-text.ts";
import {
  type CheckpointPreprocessing,
  checkpointImageSize,
  checkpointPreprocessing,
} from "../../preprocessor-config.ts";
import { feedNamed } from "./feeds.ts";
import { type NamedModel, say, storedWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";

const endings: readonly string[] = [".png", ".jpg", ".jpeg", ".webp", ".svg"];

export const isPicture = (name: string): boolean => endings.includes(extname(name).toLowerCase());

/** Throws one FileError naming every missing image, before anything slow starts. */
export function requirePictures(paths: readonly string[]): void {
  const missing = paths.filter((path) => !existsSync(path));
  if (missing.length > 0) throw new FileError(`no such image: ${missing.map((path) => `"${path}"`).join(", ")}`);
}

/**
 * The size of the input "pixels"; of one with symbolic sides, the size asked for, else that of the checkpoint's
 * processor. Throws UsageError if neither says, and for a size that the graph does not take.
 */
async function imageSize(graph: Graph, { size: asked, weights }: RunOptions): Promise<ImageSize> {
  const { axes } = feedNamed(graph, "pixels").type;
  const [height, width] = ["row", "column"].map((name) => axes.find((a) => a.name === name)?.size) as [Dim, Dim];
  const own = typeof height === "number" && typeof width === "number" ? sizeOfSides({ width, height }) : undefined;
  const size = asked ?? own ?? (await checkpointImageSize(storedWeights(weights)));
  const takes = `images of ${printDim(height)} × ${printDim(width)} pixels (height × width)`;
  if (size === undefined)
    throw new UsageError(`graph @${graph.name} takes ${takes}: say which with --size, such as --size 224x320`);
  if (sizesOfSides([height, width], size)) return size;
  const source = asked === undefined ? "the checkpoint's preprocessor_config.json makes" : "--size asks for";
  throw new UsageError(`graph @${graph.name} takes ${takes}, but ${source} ${sizeText(size)}`);
}

/** How images become the input "pixels" of a model in a mode. */
export interface PicturePreprocessing {
  readonly geometry: Geometry;
  readonly normalization: Normalization;
  /** How a chat's image is tiled, if it is: into several images, each a square of the size. */
  readonly tiling?: Tiling;
  /** The annotation value of the first class, if the checkpoint's file has one. */
  readonly firstClass?: 1;
}

/**
 * The command's preprocessing, else that of the checkpoint's preprocessor_config.json, else the model record's; by
 * default ImageNet's mean and std. The choice and its source are reported on stderr. Only the record distinguishes
 * modes, so its fit for the mode takes precedence over the file's. `shape` describes the resizing for that message.
 */
export async function preprocessingFor(
  { name, model, config, given }: NamedModel,
  graph: Graph,
  mode: PictureMode,
  options: RunOptions,
  shape: (geometry: Geometry) => string = shapeText,
): Promise<PicturePreprocessing> {
  const record = model?.preprocessing;
  const { weights, fit: asked } = options;
  const size = await imageSize(graph, options);
  const found = await checkpointPreprocessing(storedWeights(weights), size);
  const normalization = pixelValues(found ?? record ?? imagenetPreprocessing);
  const ofRecord = record && shapeOf(record, size);
  const fit = asked ?? fitOf(record, mode, found);
  const geometry: Geometry = { size, fill: meanColour(normalization.mean), ...(found?.geometry ?? ofRecord), fit };
  const source = found
    ? sourceText(found)
    : record
      ? `from ${name}`
      : `assumed, since neither ${name} nor its weights specify it`;
  // An explicit fit applies to the whole image, without tiling.
  const limits = mode === "chat" && asked === undefined ? tileLimits({ model, config, given }, found) : undefined;
  const tiling = limits && tilingWithin(limits, size, graph);
  const made = tiling ? tilingText(tiling, geometry) : shape(geometry);
  say(imagesText({ ...normalization, size, shape: made, source }));
  const { firstClass } = found ?? {};
  return { geometry, normalization, ...(tiling && { tiling }), ...(firstClass && { firstClass }) };
}

/** What a record says about resizing, besides the fit. */
const shapeOf = ({ margin, interpolation }: Preprocessing, size: ImageSize) => ({
  ...(margin !== undefined && { cover: scaledSize(size, margin) }),
  ...(interpolation && { interpolation }),
});

/** The fit of the record for the mode, else that of the checkpoint's file, else that of the record for all modes. */
function fitOf(record: Preprocessing | undefined, mode: PictureMode, found: CheckpointPreprocessing | undefined) {
  const fit = record?.fit;
  const ofMode = typeof fit === "object" ? fit[mode] : undefined;
  return ofMode ?? found?.geometry.fit ?? (typeof fit === "string" ? fit : "crop");
}

/** Undefined if an image is at most one tile. */
function tilingWithin(limits: TileLimits, size: ImageSize, graph: Graph) {
  if (limits.least > limits.most)
    throw new UsageError(`an image cannot have at least ${limits.least} tiles and at most ${limits.most}`);
  if (limits.most <= 1) return undefined;
  return { size: squareSide(size, `cutting images into tiles for graph @${graph.name}`), ...limits };
}

/**
 * How a chat's image is tiled: by `--set`, else by the checkpoint's preprocessor_config.json, else by the record.
 * Throws UsageError if the file has tiles and the model takes whole images.
 */
function tileLimits(
  { model, config, given = [] }: Pick<NamedModel, "model" | "config" | "given">,
  found: CheckpointPreprocessing | undefined,
): TileLimits | undefined {
  const of = model?.preprocessing?.tiles;
  if (!of || !config) {
    if (!found?.tiles || found.tiles.most === 1) return undefined;
    throw new UsageError(
      `${found.path}: it cuts images into tiles, but the model takes whole images: use --fit squash`,
    );
  }
  const chosen = of(config);
  /** Whether the limit depends on a given setting: probed by changing that. */
  const isGiven = (limit: "least" | "most") =>
    given.some((key) => of({ ...config, [key]: Number(config[key]) + 1 })[limit] !== chosen[limit]);
  const limit = (which: "least" | "most") =>
    isGiven(which) ? chosen[which] : (found?.tiles?.[which] ?? chosen[which]);
  return { ...chosen, least: limit("least"), most: limit("most") };
}

/** A cache of images, each read once. */
export interface Album extends PicturePreprocessing {
  readonly store: ImageStore;
}

export const albumOf = (preprocessing: PicturePreprocessing): Album => ({
  ...preprocessing,
  store: imageStore(preprocessing.geometry),
});

/** Decoded images as the input "pixels". */
const pixelsOf = (pictures: readonly Pixels[], { geometry, normalization }: PicturePreprocessing): HostTensor =>
  imageTensor(pictures, { size: geometry.size, normalization });

/** One image as the input "pixels", or its tiles in order. Throws FileError for a broken file. */
export async function pixelsFrom(path: ImageSource, preprocessing: PicturePreprocessing): Promise<HostTensor> {
  const { geometry, tiling } = preprocessing;
  const pictures = tiling
    ? await decodeTiles(path, tiling, geometry.interpolation)
    : [await decodeImage(path, geometry)];
  return pixelsOf(pictures, preprocessing);
}

/** Several images as the input "pixels", without tiling. */
export const pixelsOfAll = async (
  paths: readonly ImageSource[],
  preprocessing: PicturePreprocessing,
): Promise<HostTensor> =>
  pixelsOf(await Promise.all(paths.map((path) => decodeImage(path, preprocessing.geometry))), preprocessing);

/** Reads images batch by batch; repeated indices are decoded once. Throws FileError naming a broken one. */
export function pictureFeeds(pictures: readonly ImageSource[], album: Album) {
  return async (rows: readonly number[]): Promise<{ readonly pixels: HostTensor }> => {
    const distinct = [...new Set(rows)];
    const decoded = await Promise.all(distinct.map((row) => album.store.read(pictures[row]!)));
    const inOrder = rows.map((row) => decoded[distinct.indexOf(row)]!);
    return { pixels: pixelsOf(inOrder, album) };
  };
}
