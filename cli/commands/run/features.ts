/** `heddle run ... features`: feature maps [row, column, width] after any of a model's blocks. */
import { basename, extname, join } from "node:path";
import { type Graph, type HostTensor, type SizedAxis, selectOutputs, UsageError } from "../../../compiler/index.ts";
import type { FeaturesMode } from "../../../dsl/index.ts";
import {
  graphForRows,
  permute,
  type Rows,
  type RowsResult,
  runRows,
  startProgress,
  writeSafetensors,
} from "../../../runtime/index.ts";
import { json } from "../../output.ts";
import { inOutputFolder } from "../../output-folder.ts";
import { graphOf, type LoadedModel, modeOf, type NamedModel, openModel, say, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { albumOf, pictureFeeds, preprocessingFor, requirePictures } from "./pictures.ts";
import { axesText, gridOf, type TokenGrid, tokenGrid } from "./token-grid.ts";

export interface FeaturesOptions extends RunOptions {
  readonly image: readonly string[];
  /** Blocks from 1, or 0 for the embeddings; default the last block. */
  readonly blocks?: readonly number[];
  readonly out: string;
}

/** The file of an image's feature maps. */
export interface FeatureFile {
  readonly image: string;
  readonly file: string;
  readonly blocks: readonly number[];
  /** Rows, columns and width of the last block's map. */
  readonly shape: MapShape;
  /** The same of each of `blocks`. */
  readonly shapes: readonly MapShape[];
}

type MapShape = readonly [number, number, number];

export async function featuresCommand(source: string, options: FeaturesOptions): Promise<number> {
  const named = await openModel(source, options);
  const mode = modeOf(named, "features");
  const before = tokensBefore(mode, named);
  const whole = graphOf(named, mode.graph);
  const blocks = chosenBlocks(options.blocks, whole);
  requirePictures(options.image);
  const files = fileNames(options.image, options.out);
  const graph = selectOutputs(whole, blocks.map(outputName));
  const preprocessing = await preprocessingFor(named, graph, "features", options);
  const grid = tokenGrid(graph, preprocessing.geometry.size, mode.grid?.(named.config!));
  const written = await inOutputFolder(options.out, () =>
    withWeights(named, graph, options, async (model) => {
      const batch = Math.min(options.batch, options.image.length);
      const { fit } = preprocessing.geometry;
      const album = albumOf(preprocessing);
      const rows = {
        count: options.image.length,
        batch,
        full: model.fixed,
        feeds: pictureFeeds(options.image, album),
      };
      const shapes = await computeMaps(model, graph, rows, (result) =>
        writeMaps(result, blocks, before, grid, files, { model: source, fit }),
      );
      const made = { blocks, shape: shapes.at(-1)!, shapes };
      return options.image.map((image, i): FeatureFile => ({ image, file: files[i]!, ...made }));
    }),
  );
  if (options.json) process.stdout.write(`${json(written)}\n`);
  else say(writtenText(written, options.out));
  return 0;
}

/** Computes the maps of all images, and writes those of each batch. Returns their shapes, one for each block. */
async function computeMaps(
  model: LoadedModel,
  graph: Graph,
  rows: Rows,
  write: (result: RowsResult) => Promise<readonly MapShape[]>,
): Promise<readonly MapShape[]> {
  const session = await model.session(graphForRows(graph, rows));
  const progress = startProgress({ description: "features", total: rows.count, unit: "images" });
  let done = 0;
  let shapes: readonly MapShape[] = [];
  model.onParts((parts) => progress.update(done, { parts }));
  try {
    for await (const result of runRows(session, rows)) {
      shapes = await write(result);
      done = result.from + result.count;
      progress.update(done);
    }
  } finally {
    progress.dispose();
  }
  return shapes;
}

/** "2 files in maps/: block 0 [4, 4, 12], block 2 [4, 4, 12]" */
function writtenText(files: readonly FeatureFile[], folder: string): string {
  const { blocks, shapes } = files[0]!;
  const maps = blocks.map((block, i) => `block ${block} [${shapes[i]!.join(", ")}]`);
  return `${files.length} ${files.length === 1 ? "file" : "files"} in ${folder}: ${maps.join(", ")}`;
}

/** The output name of the states after a block. */
export const outputName = (block: number): string => `block.${block}`;

/** Tokens before those of the image's grid. */
export const tokensBefore = ({ before = 0 }: FeaturesMode, { config }: Pick<NamedModel, "config">): number =>
  typeof before === "function" ? before(config!) : before;

/** The requested blocks, default the last. Throws UsageError for one that is not an output of the graph. */
export function chosenBlocks(asked: readonly number[] | undefined, { name, outputs }: Graph): readonly number[] {
  const known = outputs.flatMap((o) => (/^block\.\d+$/.test(o.name) ? [Number(o.name.slice("block.".length))] : []));
  if (known.length === 0)
    throw new UsageError(
      `graph @${name} has no output block.N: features must be named so, with block.0 as the input of the first block`,
    );
  const last = Math.max(...known);
  const blocks = asked ?? [last];
  const wrong = blocks.find((b) => !known.includes(b));
  if (wrong === undefined) return [...new Set(blocks)].sort((a, b) => a - b);
  const all = known.length === last + 1;
  throw new UsageError(
    `--blocks ${wrong}: the model has the blocks ${all ? `1 to ${last}, and 0 for the input of the first` : known.join(", ")}`,
  );
}

/** A file for each image, named after it. Throws UsageError if two images would share one. */
function fileNames(images: readonly string[], folder: string): readonly string[] {
  const names = images.map((path) => `${basename(path, extname(path))}.safetensors`);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice >= 0)
    throw new UsageError(
      `"${images[names.indexOf(names[twice]!)]}" and "${images[twice]}" would both be written to ${names[twice]}: run them separately`,
    );
  return names.map((name) => join(folder, name));
}

/** Writes `block.N` [row, column, width] and `block.N.class` [width] of each image of a batch. -> the maps' shapes */
async function writeMaps(
  { from, count, rows, outputs }: RowsResult,
  blocks: readonly number[],
  before: number,
  grid: TokenGrid,
  files: readonly string[],
  metadata: Readonly<Record<string, string>>,
): Promise<readonly MapShape[]> {
  let shapes: readonly MapShape[] = [];
  for (let row = 0; row < count; row++) {
    const parts = blocks.map((block) => {
      const name = outputName(block);
      return maps(name, rowOf(outputs[name]!, row, rows), before, grid);
    });
    shapes = parts.map(([map]) => map!.shape as MapShape);
    await writeSafetensors(files[from + row]!, parts.flat(), { metadata });
  }
  return shapes;
}

/** One row of a batch, without that axis. */
function rowOf({ dtype, axes, data }: HostTensor, row: number, rows: number): HostTensor {
  const length = data.length / rows;
  return { dtype, axes: axes.slice(1), data: Float32Array.from(data.subarray(row * length, (row + 1) * length)) };
}

/**
 * Splits states into a map and leading tokens: rows and columns as they are, or tokens as a grid in row-major order, of
 * patches of the image.
 */
function maps(name: string, states: HostTensor, before: number, grid: TokenGrid) {
  const axes = states.axes as readonly SizedAxis[];
  const part = (suffix: string, shape: readonly number[], data: Float32Array) => ({
    name: `${name}${suffix}`,
    dtype: "F32" as const,
    shape,
    data: () => [data],
  });
  const sizeOf = (axis: string) => axes.find((a) => a.name === axis)?.size;
  const [rows, columns, tokens] = [sizeOf("row"), sizeOf("column"), sizeOf("token")];
  const others = axes.map((a) => a.name).filter((a) => !["row", "column", "token"].includes(a));
  const width = others.reduce((n, axis) => n * sizeOf(axis)!, 1);
  if (rows !== undefined && columns !== undefined)
    return [part("", [rows, columns, width], permute(states, ["row", "column", ...others]).data as Float32Array)];
  const [down, across] = gridOf((tokens ?? 0) - before, grid, `"${name}" is [${axesText(axes)}]`);
  const data = permute(states, ["token", ...others]).data as Float32Array;
  const first = data.subarray(0, before * width);
  return [
    part("", [down, across, width], data.subarray(before * width)),
    ...(before === 0 ? [] : [part(".class", before === 1 ? [width] : [before, width], first)]),
  ];
}
