/** Pictures as a mode's model takes them: its size, the fit of the mode, the statistics of its record or its checkpoint. */
import { existsSync } from "node:fs";
import { extname } from "node:path";
import { FileError, type Graph, type HostTensor, UsageError } from "../../../compiler/index.ts";
import {
  decodeImage,
  decodeTiles,
  type Geometry,
  type ImageSource,
  type ImageStore,
  imageStore,
  imageTensor,
  type Normalization,
  type Pixels,
  type Tiling,
} from "../../../data/index.ts";
import { imagenetPreprocessing, type PictureMode, type TileLimits } from "../../../dsl/index.ts";
import { type CheckpointPreprocessing, checkpointPreprocessing } from "../../preprocessor-config.ts";
import { feedNamed } from "./feeds.ts";
import { type NamedModel, say, storedWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";

const endings: readonly string[] = [".png", ".jpg", ".jpeg", ".webp", ".svg"];

export const isPicture = (name: string): boolean => endings.includes(extname(name).toLowerCase());

/** Throws one FileError naming every picture that is not there, before anything slow is begun. */
export function requirePictures(paths: readonly string[]): void {
  const missing = paths.filter((path) => !existsSync(path));
  if (missing.length > 0) throw new FileError(`there is no picture ${missing.map((path) => `"${path}"`).join(", ")}`);
}

/** The side of the square that a graph's input "pixels" takes. */
function imageSide(graph: Graph): number {
  const side = feedNamed(graph, "pixels").type.axes.find((a) => a.name === "row")?.size;
  if (typeof side === "number") return side;
  throw new UsageError(`graph @${graph.name} leaves the size of "pixels" open: set it with --set`);
}

/** How pictures become the input "pixels" of a model in a mode. */
export interface PicturePreprocessing {
  readonly geometry: Geometry;
  readonly normalization: Normalization;
  /** How a chat's picture is cut, where it is: then it is several, each squashed to the size. */
  readonly tiling?: Tiling;
}

/**
 * What the command says, else what the checkpoint's preprocessor_config.json says, else the model's record; of a model that says
 * nothing, ImageNet's statistics. What is done, and where that comes from, is told on stderr. Only the record knows of modes,
 * so its fit of the mode goes before the file's, which has one for all. `shape` says for people how pictures become the input.
 */
export async function preprocessingFor(
  { name, model, config, given }: NamedModel,
  graph: Graph,
  mode: PictureMode,
  { weights, fit: asked }: RunOptions,
  shape: (geometry: Geometry) => string = shapeText,
): Promise<PicturePreprocessing> {
  const record = model?.preprocessing;
  const size = imageSide(graph);
  const found = await checkpointPreprocessing(storedWeights(weights), size);
  const { mean, std } = found ?? record ?? imagenetPreprocessing;
  const ofRecord = record?.fit;
  const ofMode = typeof ofRecord === "object" ? ofRecord[mode] : undefined;
  const usual = typeof ofRecord === "string" ? ofRecord : "crop";
  const ofShape = record && {
    ...(record.margin !== undefined && { short: Math.round(record.margin * size) }),
    ...(record.interpolation && { interpolation: record.interpolation }),
  };
  const fit = asked ?? ofMode ?? found?.geometry.fit ?? usual;
  const geometry: Geometry = { size, ...(found?.geometry ?? ofShape), fit };
  const source = found ? found.path : record ? `as ${name} says` : `assumed, since neither ${name} nor its weights say`;
  const numbers = (of: readonly number[]) => of.map((n) => Number(n.toFixed(4))).join(" ");
  // Whoever says how a picture becomes a square means a whole one.
  const limits = mode === "chat" && asked === undefined ? tileLimits({ model, config, given }, found) : undefined;
  if (limits && limits.least > limits.most)
    throw new UsageError(`a picture cannot become at least ${limits.least} tiles and at most ${limits.most}`);
  const tiling = limits && limits.most > 1 ? { size, ...limits } : undefined;
  const made = tiling ? tilingText(tiling, geometry) : shape(geometry);
  say(`pictures: ${size} × ${size}, ${made}, mean ${numbers(mean)}, std ${numbers(std)} (${source})`);
  return { geometry, normalization: { mean, std }, ...(tiling && { tiling }) };
}

/**
 * How a chat's picture is cut: as `--set` says, else as the checkpoint's preprocessor_config.json does, else as the record does.
 * Throws UsageError where the file speaks of tiles and the model sees whole pictures.
 */
function tileLimits(
  { model, config, given = [] }: Pick<NamedModel, "model" | "config" | "given">,
  found: CheckpointPreprocessing | undefined,
): TileLimits | undefined {
  const of = model?.preprocessing?.tiles;
  if (!of || !config) {
    if (!found?.tiles || found.tiles.most === 1) return undefined;
    throw new UsageError(
      `${found.path}: it cuts pictures into tiles, and the model sees whole ones: --fit squash shows it one`,
    );
  }
  const chosen = of(config);
  /** Whether the limit hangs on a setting that was given: with another number there it would be another. */
  const isGiven = (limit: "least" | "most") =>
    given.some((key) => of({ ...config, [key]: Number(config[key]) + 1 })[limit] !== chosen[limit]);
  const limit = (which: "least" | "most") =>
    isGiven(which) ? chosen[which] : (found?.tiles?.[which] ?? chosen[which]);
  return { ...chosen, least: limit("least"), most: limit("most") };
}

/** "1 to 12 tiles and a thumbnail, bicubic" */
const tilingText = ({ least, most, thumbnail }: Tiling, { interpolation = "bicubic" }: Geometry): string =>
  `${least} to ${most} tiles${thumbnail ? " and a thumbnail" : ""}, ${interpolation}`;

/** "crop from 256, bilinear" */
export function shapeText({ size, fit, short = size, stretched, interpolation = "bicubic" }: Geometry): string {
  const from = stretched ? ` from ${short} × ${short}` : short === size ? "" : ` from ${short}`;
  return `${fit}${fit === "crop" ? from : ""}, ${interpolation}`;
}

/** Pictures that are read once, however often they are asked for. */
export interface Album extends PicturePreprocessing {
  readonly store: ImageStore;
}

export const albumOf = (preprocessing: PicturePreprocessing): Album => ({
  ...preprocessing,
  store: imageStore(preprocessing.geometry),
});

/** Decoded pictures as the input "pixels". */
const pixelsOf = (pictures: readonly Pixels[], { geometry, normalization }: PicturePreprocessing): HostTensor =>
  imageTensor(pictures, { size: geometry.size, normalization });

/** One picture as the input "pixels", or its tiles one after the other. Throws FileError where it is broken. */
export async function pixelsFrom(path: ImageSource, preprocessing: PicturePreprocessing): Promise<HostTensor> {
  const { geometry, tiling } = preprocessing;
  const pictures = tiling
    ? await decodeTiles(path, tiling, geometry.interpolation)
    : [await decodeImage(path, geometry)];
  return pixelsOf(pictures, preprocessing);
}

/** Several pictures as the input "pixels", none of them cut into tiles. */
export const pixelsOfAll = async (
  paths: readonly ImageSource[],
  preprocessing: PicturePreprocessing,
): Promise<HostTensor> =>
  pixelsOf(await Promise.all(paths.map((path) => decodeImage(path, preprocessing.geometry))), preprocessing);

/** Reads pictures batch by batch; repeated indices are decoded once. Throws FileError naming one that is broken. */
export function pictureFeeds(pictures: readonly ImageSource[], album: Album) {
  return async (rows: readonly number[]): Promise<{ readonly pixels: HostTensor }> => {
    const distinct = [...new Set(rows)];
    const decoded = await Promise.all(distinct.map((row) => album.store.read(pictures[row]!)));
    const inOrder = rows.map((row) => decoded[distinct.indexOf(row)]!);
    return { pixels: pixelsOf(inOrder, album) };
  };
}
