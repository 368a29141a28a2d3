/** How a model maps to third-party checkpoints: names and shapes of tensors, and the file of settings beside them. */
import type { Node } from "../compiler/index.ts";
import type { Config } from "./config.ts";
import type { ConfigCodec, ConfigReader } from "./config-codec.ts";
import { type CheckpointPlace, knownPlaces, type TensorRule } from "./layout.ts";

/** Where a model's parameters are stored in checkpoints, and how the file beside them maps to its settings. */
export interface ModelCheckpoints<C extends Config = Config> {
  /** Tensor layouts that can be read, each a list of rules. `heddle convert` writes the first. */
  readonly layouts: readonly (readonly TensorRule[])[];
  /** Prefixes of tensor names that are missing when a part of the model is published alone, such as "vision_model.". */
  readonly parts?: readonly string[];
  /** Converts a stored tensor of another shape to the parameter; undefined if it cannot. `data` is in stored order. */
  readonly fit?: FitTensor<C>;
  /**
   * The file with the settings of its checkpoints, which is also written, a `config.json` unless it names another.
   * Default: one with the model's settings under their own names.
   */
  readonly config?: ConfigCodec<C>;
  /** Further files that may describe its checkpoints, as of other projects, read where `config` finds none. */
  readonly otherConfigs?: readonly ConfigReader<C>[];
  /**
   * Settings inferred from stored tensors, such as the grid size of position embeddings; undefined if nothing changes.
   * `shapeOf` gives a tensor's shape by name.
   */
  readonly sizedByTensors?: (
    config: C,
    shapeOf: (tensor: string) => readonly number[] | undefined,
  ) => SizedByTensors<C> | undefined;
  /** Redundant tensors that checkpoints may store as copies of one that is read. Copies that differ are rejected. */
  readonly copies?: (config: C) => readonly TensorCopy[];
}

/** A redundant copy of a tensor that is read. */
export interface TensorCopy {
  readonly name: string;
  /** The tensor that it must equal. */
  readonly of: string;
  /** The setting of config.json that declares the copy. */
  readonly setting: string;
}

/** A configuration inferred from stored tensors. */
export interface SizedByTensors<C extends Config = Config> {
  readonly config: C;
  /** A message about what follows from it. */
  readonly note?: string;
}

/**
 * Makes a stored tensor of another shape fit a parameter of a model of these settings, such as position embeddings of
 * another grid; undefined if it cannot.
 */
export type FitTensor<C extends Config = Config> = (
  parameter: string,
  stored: readonly number[],
  expected: readonly number[],
  config: C,
) => FittedTensor | undefined;

/** How a stored tensor becomes a parameter, in words and as a function of its elements. */
export interface FittedTensor {
  readonly note: string;
  readonly apply: (data: Float32Array) => Float32Array;
}

/** All readers of a record, that of the file which is also written first. */
export const codecsOf = <C extends Config>(
  checkpoints: ModelCheckpoints<C> | undefined,
): readonly ConfigReader<C>[] => [
  ...(checkpoints?.config ? [checkpoints.config] : []),
  ...(checkpoints?.otherConfigs ?? []),
];

/**
 * The places where parameters may be stored other than under their own names, most likely first, each as all tensors
 * that together hold one. Parts published alone lack their prefix; such a place is skipped if its name without the
 * prefix is another parameter's.
 */
function checkpointPlaces(
  { layouts, parts = [] }: Pick<ModelCheckpoints, "layouts" | "parts">,
  parameters: readonly Node[],
): CheckpointPlace[][] {
  const places = layouts.flatMap((rules) => knownPlaces(parameters, rules));
  const taken = new Set(places.flat().map((p) => p.name));
  const alone = places.flatMap((tensors) => {
    const prefix = parts.find((p) => tensors.every(({ name }) => name.startsWith(p)));
    const bare = prefix === undefined ? tensors : tensors.map((t) => ({ ...t, name: t.name.slice(prefix.length) }));
    return bare.some(({ name }) => taken.has(name)) ? [] : [bare];
  });
  return [...places, ...alone];
}

/** The places and fits of a model's checkpoints, for code that loads initial weights of these settings from them. */
export const checkpointFamily = <C extends Config>(checkpoints: ModelCheckpoints<C>, config: C) => ({
  places: (parameters: readonly Node[]) => checkpointPlaces(checkpoints, parameters),
  fit: (parameter: string, stored: readonly number[], expected: readonly number[]): FittedTensor | undefined =>
    checkpoints.fit?.(parameter, stored, expected, config),
});
