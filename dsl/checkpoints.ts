/** What a model knows of checkpoints that others made: names and shapes of tensors, and the `config.json` beside them. */
import type { Node } from "../compiler/index.ts";
import type { Config } from "./config.ts";
import { type CheckpointPlace, knownPlaces, type TensorRule } from "./layout.ts";

/** A parsed JSON object, such as `config.json`. */
export type JsonRecord = Readonly<Record<string, unknown>>;

/** Where a model's parameters lie in checkpoints, and how their config.json says its settings. */
export interface ModelCheckpoints<C extends Config = Config> {
  /** Where its parameters lie: a list of rules for each form that is read. `heddle convert` writes the first. */
  readonly layouts: readonly (readonly TensorRule[])[];
  /** Beginnings of tensors' names that are left out where a part of the model is published alone, such as "vision_model.". */
  readonly parts?: readonly string[];
  /** How a stored tensor of another shape becomes the parameter; undefined where it cannot. `data` is in stored order. */
  readonly fit?: FitTensor;
  /** The `config.json` of its checkpoints; without it, one has the model's settings by their own names. */
  readonly config?: ConfigCodec<C>;
  /**
   * What stored tensors say of the configuration, such as the size that positions are for; undefined where they say nothing
   * new. `shapeOf` gives a tensor's shape by name.
   */
  readonly sizedByTensors?: (
    config: C,
    shapeOf: (tensor: string) => readonly number[] | undefined,
  ) => SizedByTensors<C> | undefined;
  /** Tensors that may be stored besides, as copies of one that is read. Copies that differ are refused. */
  readonly copies?: (config: C) => readonly TensorCopy[];
}

/** A tensor that a checkpoint may have besides the one that is read. */
export interface TensorCopy {
  readonly name: string;
  /** What it is to be equal to. */
  readonly of: string;
  /** What in config.json says so. */
  readonly setting: string;
}

/** What stored tensors say of a configuration. */
export interface SizedByTensors<C extends Config = Config> {
  readonly config: C;
  /** For people: what follows from it. */
  readonly note?: string;
}

/** Makes a stored tensor of another shape fit a parameter, such as positions of another grid; undefined where it cannot. */
export type FitTensor = (
  parameter: string,
  stored: readonly number[],
  expected: readonly number[],
) => { readonly note: string; readonly apply: (data: Float32Array) => Float32Array } | undefined;

/** A model's settings as the `config.json` of published checkpoints has them. */
export interface ConfigCodec<C extends Config = Config> {
  /** The values of "model_type" that it knows. */
  readonly types: readonly string[];
  /** Whether a config.json of one of these types is this model's own: a type may be that of several models. */
  describes?(json: JsonRecord): boolean;
  /**
   * The settings that a config.json says; `config` has those that it leaves open. Throws UsageError naming a field that the
   * model would not obey.
   */
  read(json: JsonRecord, config: C): C;
  /** For people: fields that nobody here knows, and that may matter. */
  notes?(json: JsonRecord): readonly string[];
  /** Settings by dotted keys, such as "text.vocab", in which checkpoints of one published model may differ and keep its name. */
  readonly incidental?: readonly string[];
  /** Undefined for settings that the published form cannot say. */
  write(config: C): JsonRecord | undefined;
  /**
   * The configuration with the sizes of what it goes on from, which may be another model of the family; undefined where that
   * says nothing of it. Without this, a config.json of its own types is read.
   */
  sized?(config: C, json: JsonRecord): C | undefined;
}

/** Whether a config.json is that of a model. */
export const isDescribedBy = <C extends Config>(codec: ConfigCodec<C>, json: JsonRecord): boolean =>
  typeof json.model_type === "string" && codec.types.includes(json.model_type) && (codec.describes?.(json) ?? true);

/** What a model goes on from says of its configuration; undefined where it says nothing. */
export function sizedBy<C extends Config>(codec: ConfigCodec<C>, config: C, json: JsonRecord): C | undefined {
  if (codec.sized) return codec.sized(config, json);
  return isDescribedBy(codec, json) ? codec.read(json, config) : undefined;
}

/**
 * Where parameters may lie besides under their own names, the likeliest place first: each as all tensors that together hold
 * one. Parts that are published alone lack their prefix; not taken where a name without it is another parameter's.
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

/** The places and fits of a model's checkpoints, as whoever goes on from them asks. */
export const checkpointFamily = <C extends Config>(checkpoints: ModelCheckpoints<C>) => ({
  places: (parameters: readonly Node[]) => checkpointPlaces(checkpoints, parameters),
  ...(checkpoints.fit && { fit: checkpoints.fit }),
});
