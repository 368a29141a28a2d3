/** The name of a checkpoint's model: a published name if its settings are that model's, else its family's. */
import { type Config, type ConfigValue, codecsOf, type Model } from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import { flattened, withKnown } from "./own-config.ts";

/** A model of a family in sizes that no bundled model has. */
export interface FamilyModel extends Model {
  /** The bundled model it is built from, which identifies it where no published config.json does. */
  readonly builtAs: string;
}

const isOfFamily = (model: Model): model is FamilyModel => "builtAs" in model;

/** The name stored with settings in heddle's own format. */
export const recordName = (model: Model): string => (isOfFamily(model) ? model.builtAs : model.name);

/**
 * A description of a model of no published size, such as "32 layers, width 4096, 32 heads, 8 of keys"; else undefined.
 */
export const sizesInWords = (model: Model): string | undefined =>
  isOfFamily(model) ? words(model.config).join("; ") : undefined;

/**
 * A bundled model with a checkpoint's settings: the model of those settings, itself or another whose config.json is of
 * this `model_type`, if there is one. Else it is named after the type, or after the model, with "-like" if that name is
 * taken.
 */
export function calledAsItIs(model: Model, type?: string): Model {
  const others = bundledModels.filter(
    (m) => type !== undefined && codecsOf(m.checkpoints).some((c) => c.types.includes(type)),
  );
  const same = [bundledModels.find((m) => m.name === model.name)!, ...others].find((m) => hasSettings(m, model.config));
  if (same) return { ...same, config: model.config };
  const family = type ?? model.name;
  const name = bundledModels.some((m) => m.name === family) ? `${family}-like` : family; // gpt2 is also a size
  return { ...model, name, builtAs: model.name } as FamilyModel;
}

/** Whether a bundled model has these settings, ignoring those that a config.json lacks, such as training settings. */
function hasSettings({ name, checkpoints, config: own }: Model, config: Config): boolean {
  const { write, incidental = [] } = checkpoints?.config ?? {};
  const telling = (c: Config) =>
    Object.fromEntries(Object.entries(flattened(c)).filter(([key]) => !incidental.includes(key)));
  const keysOf = (c: Config) => Object.keys(telling(c)).sort().join();
  if (keysOf(own) !== keysOf(config)) return false;
  const said = (c: Config) => JSON.stringify(write?.(c) ?? flattened(c));
  return said(own) === said(withKnown(own, telling(config), name));
}

/** The common sizes of families, for each group of settings that has a depth. */
function words(config: Config, group = ""): string[] {
  const { depth, width, heads, keyHeads } = config as Readonly<Record<string, ConfigValue | undefined>>;
  const own = [
    depth !== undefined && `${depth} layers`,
    width !== undefined && `width ${width}`,
    heads !== undefined &&
      `${heads} heads${keyHeads === undefined || keyHeads === heads ? "" : `, ${keyHeads} of keys`}`,
  ].filter((word) => word !== false);
  const groups = Object.entries(config).flatMap(([key, value]) =>
    typeof value === "object" && !Array.isArray(value) ? words(value as Config, key) : [],
  );
  if (typeof depth !== "number") return groups;
  return [`${group === "" ? "" : `${group}: `}${own.join(", ")}`, ...groups];
}
