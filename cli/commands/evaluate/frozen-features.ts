/** A vector of each picture out of an encoder that does not learn. */
import { type Graph, type HostTensor, selectOutputs, UsageError } from "../../../compiler/index.ts";
import type { Embeddings, ImageSource } from "../../../data/index.ts";
import { graphForRows, permute, runRows, startProgress } from "../../../runtime/index.ts";
import { chosenBlocks, outputName, tokensBefore } from "../run/features.ts";
import { graphOf, type LoadedModel, modeOf, type NamedModel } from "../run/opened-model.ts";
import { type Album, pictureFeeds } from "../run/pictures.ts";
import { embedPictures, requireOutputs } from "../run/towers.ts";
import type { EvaluateOptions } from "./options.ts";

/** The mean of the last block's places, its tokens before these, or the vector that texts are compared with. */
export const featureNames = ["tokens", "class", "image"] as const;
export type FeatureName = (typeof featureNames)[number];

export interface FrozenEncoder {
  readonly graph: Graph;
  readonly feature: FeatureName;
  vectors(
    model: LoadedModel,
    pictures: readonly ImageSource[],
    album: Album,
    options: EvaluateOptions,
  ): Promise<Embeddings>;
}

/** Tokens where the model serves features and nothing is asked for, else the output "image". */
export function frozenEncoder(named: NamedModel, asked: string | undefined): FrozenEncoder {
  const feature = (asked ?? (named.model?.modes?.features ? "tokens" : "image")) as FeatureName;
  if (feature === "image") {
    requireOutputs(named.graph, "--feature image", ["image"]);
    const vectors: FrozenEncoder["vectors"] = (model, pictures, album, options) =>
      embedPictures(model, named.graph, pictures, album, options);
    return { graph: selectOutputs(named.graph, ["image"]), feature, vectors };
  }
  const mode = modeOf(named, "features");
  const before = tokensBefore(mode, named);
  if (feature === "class" && before === 0)
    throw new UsageError(`"${named.name}" has no tokens before those of places: take --feature tokens`);
  const whole = graphOf(named, mode.graph);
  const output = outputName(chosenBlocks(undefined, whole)[0]!);
  const graph = selectOutputs(whole, [output]);
  const places = feature === "class" ? { from: 0, to: before } : { from: before, to: Number.POSITIVE_INFINITY };
  return {
    graph,
    feature,
    vectors: (model, pictures, album, { batch }) => means(model, graph, output, places, pictures, album, batch),
  };
}

interface Places {
  readonly from: number;
  readonly to: number;
}

async function means(
  model: LoadedModel,
  graph: Graph,
  output: string,
  places: Places,
  pictures: readonly ImageSource[],
  album: Album,
  most: number,
): Promise<Embeddings> {
  const batch = Math.min(most, pictures.length);
  const rows = { count: pictures.length, batch, full: model.fixed, feeds: pictureFeeds(pictures, album) };
  const session = await model.session(graphForRows(graph, rows));
  const progress = startProgress({ description: "features", total: rows.count, unit: "pictures" });
  const vectors: Float64Array[] = [];
  try {
    for await (const { from, count, outputs } of runRows(session, rows)) {
      vectors.push(...meansOf(outputs[output]!, places).slice(0, count));
      progress.update(from + count);
    }
  } finally {
    progress.dispose();
    session.dispose();
  }
  const width = vectors[0]!.length;
  const data = new Float32Array(vectors.length * width);
  for (const [row, vector] of vectors.entries()) data.set(vector, row * width);
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return { data, width };
  throw new UsageError(
    `"${output}" of picture ${Math.floor(bad / width)} holds ${data[bad]}: the weights diverged or are another model's`,
  );
}

const placeAxes = ["token", "row", "column"];

/** Of states [batch, token or row and column, ...] the mean over places, a vector a row. */
function meansOf(states: HostTensor, { from, to }: Places): readonly Float64Array[] {
  const names = states.axes.map(({ name }) => name);
  const along = placeAxes.filter((name) => names.includes(name));
  const others = names.filter((name) => name !== "batch" && !along.includes(name));
  const { axes, data } = permute(states, ["batch", ...along, ...others]);
  const sizes = axes.map(({ size }) => Number(size));
  const [batch, width] = [sizes[0]!, sizes.slice(1 + along.length).reduce((a, b) => a * b, 1)];
  const count = sizes.slice(1, 1 + along.length).reduce((a, b) => a * b, 1);
  const last = Math.min(to, count);
  return Array.from({ length: batch }, (_, row) => {
    const sum = new Float64Array(width);
    for (let place = from; place < last; place += 1)
      for (let i = 0; i < width; i += 1) sum[i]! += Number(data[(row * count + place) * width + i]!);
    return sum.map((v) => v / (last - from));
  });
}
