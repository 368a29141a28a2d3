/** The sizes of a model that starts from a run or a checkpoint, read from the files beside the weights. */
import { join } from "node:path";
import { type Config, codecsOf, type Model, sizedBy } from "../../dsl/index.ts";
import { readRunSettings } from "../../runtime/index.ts";
import { codecBeside, folderOf } from "../checkpoint.ts";
import { requireAlike } from "../copied-tensors.ts";
import { recordName } from "../family-name.ts";
import { configJson, readOwnConfig, withKnown } from "../own-config.ts";

/**
 * The model's configuration with the sizes of what it starts from: those of an earlier run of the same model, or of a
 * `config.json`. The first source takes precedence.
 */
export async function sizedBySources(model: Model, sources: readonly string[]): Promise<Config> {
  let config = model.config;
  for (const source of [...sources].reverse()) {
    const folder = folderOf(source);
    config = (await sizesOfRun(model, config, folder)) ?? (await sizesOfFile(model, config, source)) ?? config;
  }
  return config;
}

async function sizesOfRun({ name }: Model, config: Config, folder: string): Promise<Config | undefined> {
  const settings = await readRunSettings(folder);
  return settings?.model === name ? withKnown(config, settings, join(folder, "run.json")) : undefined;
}

async function sizesOfFile(model: Model, config: Config, source: string): Promise<Config | undefined> {
  const folder = folderOf(source);
  const found = await configJson(folder);
  const own = found && readOwnConfig(folder, found);
  if (own) return own.model === recordName(model) ? own.config(config) : undefined;
  const file = await codecBeside(folder, codecsOf(model.checkpoints));
  const sized = file && sizedBy(file.codec, config, file.json);
  if (sized) await requireAlike(model, sized, source);
  return sized;
}
