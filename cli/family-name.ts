/** What a checkpoint's model is called: a published name where its settings are that model's, else its family's. */
import type { Config, ConfigValue, Model } from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import { flattened, withKnown } from "./own-config.ts";

/** A model of a family in sizes that none of the bundled ones has. */
export interface FamilyModel extends Model {
  /** The bundled model that it is built as, which finds it again where no published config.json says it. */
  readonly builtAs: string;
}

const isOfFamily = (model: Model): model is FamilyModel => "builtAs" in model;

/** The name that settings in heddle's own form are kept under. */
export const recordName = (model: Model): string => (isOfFamily(model) ? model.builtAs : model.name);

/** The words for a model of no published size, such as "32 layers, width 4096, 32 heads, 8 of keys"; else undefined. */
export const sizesInWords = (model: Model): string | undefined =>
  isOfFamily(model) ? words(model.config).join("; ") : undefined;

/**
 * A bundled model with a checkpoint's settings, under the name of the model that has them, as which it is then used: itself, or
 * another whose config.json is of this `model_type`. Under the type where none has them, or like itself where there is no type.
 */
export function calledAsItIs(model: Model, type?: string): Model {
  const others = bundledModels.filter((m) => type !== undefined && m.checkpoints?.config?.types.includes(type));
  const same = [bundledModels.find((m) => m.name === model.name)!, ...others].find((m) => hasSettings(m, model.config));
  if (same) return { ...same, config: model.config };
  const family = type ?? model.name;
  const name = bundledModels.some((m) => m.name === family) ? `${family}-like` : family; // gpt2 is one size of its family
  return { ...model, name, builtAs: model.name } as FamilyModel;
}

const keysOf = (config: Config): string => Object.keys(flattened(config)).sort().join();

/** Whether a bundled model's settings are these, but for what no config.json says, such as how it is trained. */
function hasSettings({ name, checkpoints, config: own }: Model, config: Config): boolean {
  if (keysOf(own) !== keysOf(config)) return false;
  const { write, incidental = [] } = checkpoints?.config ?? {};
  const shared = Object.fromEntries(Object.entries(flattened(own)).filter(([key]) => incidental.includes(key)));
  const said = (c: Config) => JSON.stringify(write?.(c) ?? flattened(c));
  return said(own) === said(withKnown(config, shared, name));
}

/** The sizes that families have in common, of each group of settings that has a depth. */
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
