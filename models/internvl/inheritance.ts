/** How checkpoints of the InternVL family fit a stage: other names for the same tensors, and positions of another grid. */
import type { Graph } from "../../dsl/index.ts";
import type { PublishedTensor } from "./layout.ts";
import { resizedPositions } from "./positions.ts";
import { publishedPlaces } from "./weights.ts";

type Parameter = Graph["inputs"][number];

/**
 * Parts that are published alone, without the prefix that they have in a model: InternViT, and the multilingual LLaMA that
 * the text side and QLLaMA begin as. Not taken where a name without its prefix is a parameter of the model itself, as the
 * chat's `model` beside `qllama.model` is.
 */
const prefixes = ["vision_model.", "qllama."];

/** What `inheritWeights` asks of the family. */
export const internvlCheckpoints = {
  places(parameters: readonly Parameter[]): PublishedTensor[] {
    const places = publishedPlaces(parameters);
    const taken = new Set(places.map((p) => p.name));
    const alone = places.flatMap((place) => {
      const prefix = prefixes.find((p) => place.name.startsWith(p));
      const name = prefix === undefined ? place.name : place.name.slice(prefix.length);
      return taken.has(name) ? [] : [{ ...place, name }];
    });
    return [...places, ...alone];
  },

  /** Positions are interpolated once, as at another resolution; nothing else can have another shape. */
  fit(parameter: string, stored: readonly number[], expected: readonly number[]) {
    if (!/(^|\.)embeddings\.position_embedding$/.test(parameter)) return undefined;
    const [[tokens = 0, width], [wanted = 0, embed]] = [stored.slice(-2), expected.slice(-2)];
    const [from, to] = [Math.sqrt(tokens - 1), Math.sqrt(wanted - 1)];
    if (width !== embed || !Number.isInteger(from) || from < 1) return undefined;
    return {
      note: `interpolated from ${from} × ${from} to ${to} × ${to} patches`,
      apply: (data: Float32Array) => resizedPositions(data, from, to),
    };
  },
};
