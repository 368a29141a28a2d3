/**
 * The config.json of a model's weights, in its published form, which has to be read as the settings it was written for.
 */
import { isDeepStrictEqual } from "node:util";
import { inputName, isParameter, printType } from "../compiler/index.ts";
import { type Config, isDescribedBy, type JsonRecord, type Model, trace, UsageError } from "../dsl/index.ts";
import { flattened } from "./own-config.ts";

/**
 * Throws UsageError, naming the settings, if a config.json that the record's codec wrote is read as those of a
 * model with other parameters, which could not load the weights beside it. What changes no parameter, such as drop path
 * or the size of images, need not be in it. `model` has its default settings, which reading takes for what the file
 * leaves out.
 */
export function requireReadBack(model: Model, config: Config, written: JsonRecord | undefined): void {
  const codec = model.checkpoints?.config;
  if (!codec || !written) return;
  const stored = JSON.parse(JSON.stringify(written)) as JsonRecord; // as it is in the file
  if (!isDescribedBy(codec, stored)) return;
  const again = codec.read(stored, model.config);
  const [read, own] = [flattened(again), flattened(config)];
  const differing = Object.keys(own).filter((key) => !isDeepStrictEqual(read[key], own[key]));
  if (differing.length === 0 || hasSameParameters(model, config, again)) return;
  const told = differing.map((key) => `${key} is ${JSON.stringify(own[key])} and is read back as ${textOf(read[key])}`);
  throw new UsageError(
    `the config.json that the record of ${model.name} writes has other parameters when it is read: ${told.join("; ")}\n  hint: in checkpoints.config of the record, let write give the fields that read takes ${differing.join(", ")} from`,
  );
}

const textOf = (value: unknown): string => JSON.stringify(value) ?? "nothing";

/** Whether the parameters of both have the same names and sizes. */
function hasSameParameters(model: Model, config: Config, again: Config): boolean {
  const sizesOf = (of: Config) =>
    trace(model, of)
      .inputs.filter(isParameter)
      .map((node) => `${inputName(node)} ${printType(node.type)}`)
      .sort();
  try {
    return isDeepStrictEqual(sizesOf(config), sizesOf(again));
  } catch {
    return false; // such as sizes that do not divide each other
  }
}
