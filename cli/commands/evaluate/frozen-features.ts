/** A feature vector of each image from a frozen encoder. */
import { type Graph, type HostTensor, selectOutputs, UsageError } from "../../../compiler/index.ts";
import type { ImageSource } from "../../../data/index.ts";
import { graphForRows, permute, runRows, startProgress } from "../../../runtime/index.ts";
import { bytes } from "../../output.ts";
import { towersGraph } from "../run/comparing.ts";
import { chosenBlocks, outputName, tokensBefore } from "../run/features.ts";
import { graphOf, type LoadedModel, modeOf, type NamedModel } from "../run/opened-model.ts";
import { type Album, pictureFeeds } from "../run/pictures.ts";
import { embedPictures, requireOutputs } from "../run/towers.ts";
import type { TokenVectors } from "./learner.ts";
import type { EvaluateOptions } from "./options.ts";

/** Mean of the last block's patches, its class token, or the contrastive image embedding. */
export const featureNames = ["tokens", "class", "image"] as const;
/** "all": every token of the last block separately. */
export type FeatureName = (typeof featureNames)[number] | "all";

export interface FrozenEncoder {
  readonly graph: Graph;
  readonly feature: FeatureName;
  vectors(
    model: LoadedModel,
    pictures: readonly ImageSource[],
    album: Album,
    options: EvaluateOptions,
  ): Promise<TokenVectors>;
}

/** Default tokens if the model has the mode features, else the output "image". */
export function frozenEncoder(named: NamedModel, asked: string | undefined): FrozenEncoder {
  const feature = (asked ?? (named.model?.modes?.features ? "tokens" : "image")) as FeatureName;
  if (feature === "image") {
    const graph = towersGraph(named);
    requireOutputs(graph, "--feature image", ["image"]);
    const vectors: FrozenEncoder["vectors"] = (model, pictures, album, options) =>
      embedPictures(model, graph, pictures, album, options);
    return { graph: selectOutputs(graph, ["image"]), feature, vectors };
  }
  const mode = modeOf(named, "features");
  const before = tokensBefore(mode, named);
  if (feature === "class" && before === 0)
    throw new UsageError(`"${named.name}" has no class token: use --feature tokens`);
  const whole = graphOf(named, mode.graph);
  const output = outputName(chosenBlocks(undefined, whole)[0]!);
  const graph = selectOutputs(whole, [output]);
  const takes = {
    tokens: (states: States) => meanOf(states, before, states.places),
    class: (states: States) => meanOf(states, 0, before),
    all: (states: States) => states.data,
  }[feature];
  return {
    graph,
    feature,
    vectors: (model, pictures, album, { batch }) => taken(model, graph, output, takes, pictures, album, batch),
  };
}

/** An image's last hidden states: [place, width]. */
interface States {
  readonly data: ArrayLike<number>;
  readonly places: number;
  readonly width: number;
}

/** Maximum bytes of vectors held at once; all tokens of many images would not fit in memory. */
const mostBytes = 8e9;

async function taken(
  model: LoadedModel,
  graph: Graph,
  output: string,
  take: (states: States) => ArrayLike<number>,
  pictures: readonly ImageSource[],
  album: Album,
  most: number,
): Promise<TokenVectors> {
  const batch = Math.min(most, pictures.length);
  const rows = { count: pictures.length, batch, full: model.fixed, feeds: pictureFeeds(pictures, album) };
  const session = await model.session(graphForRows(graph, rows));
  const progress = startProgress({ description: "features", total: rows.count, unit: "images" });
  let [data, width, tokens] = [new Float32Array(0), 0, 1];
  try {
    for await (const { from, count, outputs } of runRows(session, rows)) {
      for (const [i, states] of statesOf(outputs[output]!).slice(0, count).entries()) {
        const own = take(states);
        if (width === 0) {
          [width, tokens] = [own.length, own.length / states.width];
          requireRoom(rows.count * width * Float32Array.BYTES_PER_ELEMENT);
          data = new Float32Array(rows.count * width);
        }
        data.set(own, (from + i) * width);
      }
      progress.update(from + count);
    }
  } finally {
    progress.dispose();
    session.dispose();
  }
  const bad = data.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return { data, width, tokens };
  throw new UsageError(
    `"${output}" of image ${Math.floor(bad / width)} contains ${data[bad]}: the weights diverged or belong to another model`,
  );
}

function requireRoom(needed: number): void {
  if (needed <= mostBytes) return;
  throw new UsageError(
    `the features of the training data are held in memory, and would take ${bytes(needed)}: use fewer with --shots, or train a probe as a stage (heddle train --stage)`,
  );
}

const placeAxes = ["token", "row", "column"];

/** Splits [batch, token or row and column, ...] into each image's states. */
function statesOf(states: HostTensor): readonly States[] {
  const names = states.axes.map(({ name }) => name);
  const along = placeAxes.filter((name) => names.includes(name));
  const others = names.filter((name) => name !== "batch" && !along.includes(name));
  const { axes, data } = permute(states, ["batch", ...along, ...others]);
  const sizes = axes.map(({ size }) => Number(size));
  const places = sizes.slice(1, 1 + along.length).reduce((a, b) => a * b, 1);
  const width = sizes.slice(1 + along.length).reduce((a, b) => a * b, 1);
  const each = places * width;
  return Array.from({ length: sizes[0]! }, (_, row) => ({
    ...{ places, width },
    data: data.subarray(row * each, (row + 1) * each) as ArrayLike<number>,
  }));
}

function meanOf({ data, width }: States, from: number, to: number): Float64Array {
  const sum = new Float64Array(width);
  for (let place = from; place < to; place += 1) for (let i = 0; i < width; i += 1) sum[i]! += data[place * width + i]!;
  return sum.map((v) => v / (to - from));
}
