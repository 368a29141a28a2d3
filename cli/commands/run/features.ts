/** `heddle run ... features`: what InternViT sees, as maps [row, column, embed] after any of its blocks. */
import { basename, extname, join } from "node:path";
import { type HostTensor, UsageError } from "../../../compiler/index.ts";
import { imageStore } from "../../../data/index.ts";
import type { Params } from "../../../dsl/index.ts";
import { internvit, isVision, pixelsInput, type VisionConfig } from "../../../models/index.ts";
import {
  graphForRows,
  makeFolder,
  type RowsResult,
  runRows,
  startProgress,
  writeSafetensors,
} from "../../../runtime/index.ts";
import { json } from "../../output.ts";
import { graphOf, type NamedModel, openModel, say, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { pictureFeeds, requirePictures } from "./pictures.ts";

export interface FeaturesOptions extends RunOptions {
  readonly image: readonly string[];
  /** Blocks counted from 1, and 0 for the embeddings before them; the last block when not given. */
  readonly blocks?: readonly number[];
  readonly out: string;
}

/** One picture's file of maps. */
export interface FeatureFile {
  readonly image: string;
  readonly file: string;
  readonly blocks: readonly number[];
  /** Rows, columns and width of each map. */
  readonly shape: readonly [number, number, number];
}

export async function featuresCommand(source: string, options: FeaturesOptions): Promise<number> {
  const { config, build } = visionOf(await openModel(source, options));
  const blocks = chosenBlocks(options.blocks ?? [config.depth], config.depth);
  requirePictures(options.image);
  const files = fileNames(options.image, options.out);
  const graph = graphOf("features", (p) => {
    const states = build(p);
    return Object.fromEntries(blocks.map((block) => [outputName(block), states[block]!]));
  });
  const side = config.image / config.patch;
  await makeFolder(options.out);
  const written = await withWeights(graph, options, async (model) => {
    const batch = Math.min(options.batch, options.image.length);
    const fit = options.fit ?? "crop";
    const store = imageStore({ size: config.image, fit });
    const rows = {
      count: options.image.length,
      batch,
      full: model.fixed,
      feeds: pictureFeeds(options.image, store),
    };
    const session = await model.session(graphForRows(graph, rows));
    const progress = startProgress({ description: "features", total: rows.count, unit: "pictures" });
    let done = 0;
    model.onParts((parts) => progress.update(done, { parts }));
    try {
      for await (const result of runRows(session, rows)) {
        await writeMaps(result, side, files, { model: source, fit });
        done = result.from + result.count;
        progress.update(done);
      }
    } finally {
      progress.dispose();
    }
    const shape = [side, side, config.width] as const;
    return options.image.map((image, i): FeatureFile => ({ image, file: files[i]!, blocks, shape }));
  });
  if (options.json) process.stdout.write(`${json(written)}\n`);
  else
    say(
      `${written.length} files of [${written[0]!.shape.join(", ")}] maps of blocks ${blocks.join(", ")} in ${options.out}`,
    );
  return 0;
}

const outputName = (block: number): string => `block.${block}`;

interface Vision {
  readonly config: VisionConfig;
  /** All states: the embeddings, and after each block. */
  readonly build: (p: Params) => ReturnType<typeof internvit>;
}

/** The InternViT of a model: itself, or its part `vision`. Throws UsageError for a model without one. */
function visionOf({ name, config }: NamedModel): Vision {
  if (isVision(config)) return tower("", config);
  if (isVision(config?.vision)) return tower("vision_model", config.vision);
  throw new UsageError(`features needs a model with an InternViT: "${name}" has none in its configuration`);
}

const tower = (scope: string, config: VisionConfig): Vision => ({
  config,
  build: (p) => internvit(scope === "" ? p : p.scope(scope), pixelsInput(config), config),
});

function chosenBlocks(blocks: readonly number[], depth: number): readonly number[] {
  const wrong = blocks.find((b) => !Number.isInteger(b) || b < 0 || b > depth);
  if (wrong !== undefined)
    throw new UsageError(
      `--blocks ${wrong}: the model has the blocks 1 to ${depth}, and 0 for what goes into the first`,
    );
  return [...new Set(blocks)].sort((a, b) => a - b);
}

/** A file for each picture, named after it. Throws UsageError where two pictures would share one. */
function fileNames(images: readonly string[], folder: string): readonly string[] {
  const names = images.map((path) => `${basename(path, extname(path))}.safetensors`);
  const twice = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (twice >= 0)
    throw new UsageError(
      `"${images[names.indexOf(names[twice]!)]}" and "${images[twice]}" would both become ${names[twice]}: run them apart`,
    );
  return names.map((name) => join(folder, name));
}

/** Writes `block.N` [row, column, embed] and `block.N.class` [embed] of each picture of a batch. */
async function writeMaps(
  { from, count, rows, outputs }: RowsResult,
  side: number,
  files: readonly string[],
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  for (let row = 0; row < count; row++) {
    const tensors = Object.entries(outputs).flatMap(([name, states]) => maps(name, rowOf(states, row, rows), side));
    await writeSafetensors(files[from + row]!, tensors, { metadata });
  }
}

/** One row of [batch, token, embed], flat. */
function rowOf({ data }: HostTensor, row: number, rows: number): Float32Array {
  const length = data.length / rows;
  return Float32Array.from(data.subarray(row * length, (row + 1) * length));
}

/** The class token comes first, the patches row by row after it. */
function maps(name: string, states: Float32Array, side: number) {
  const width = states.length / (side * side + 1);
  const part = (suffix: string, shape: readonly number[], data: Float32Array) => ({
    name: `${name}${suffix}`,
    dtype: "F32" as const,
    shape,
    data: () => [data],
  });
  return [part("", [side, side, width], states.subarray(width)), part(".class", [width], states.subarray(0, width))];
}
