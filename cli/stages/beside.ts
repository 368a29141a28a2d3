/** What lies beside the weights that a run starts from, and comes to lie beside its own. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Config, JsonRecord, Model } from "../../dsl/index.ts";
import { writeFileAtomically } from "../../runtime/index.ts";
import { folderOf } from "../checkpoint.ts";
import { type ClassNames, classNamesIn, everyClassName, withClassNames } from "../class-names.ts";
import { configText, withOtherFields } from "../kept-fields.ts";
import { jsonIn } from "../own-config.ts";
import { type WrittenConfig, writtenConfig, writtenName } from "../written-config.ts";

const generationFile = "generation_config.json";

/** Contents of files, by what they are about. */
interface Beside {
  readonly config?: string;
  readonly generation?: string;
}

/**
 * The contents of the model's file of settings and of `generation_config.json` of the first sources that have them, as
 * a run keeps them in its settings: a resumed run writes what it would have written, wherever its sources are. Empty if
 * there are none.
 */
export async function filesBeside(model: Model, sources: readonly string[]): Promise<string> {
  const name = writtenName(model);
  const first = async (read: (folder: string) => Promise<string | undefined>) => {
    for (const source of sources) {
      const text = await read(folderOf(source));
      if (text !== undefined) return text;
    }
    return undefined;
  };
  const [config, generation] = [
    await first(async (folder) => ((await jsonIn(folder, name)) ? await configText(folder, name) : undefined)),
    await first((folder) => readFile(join(folder, generationFile), "utf8").catch(() => undefined)),
  ];
  if (config === undefined && generation === undefined) return "";
  return JSON.stringify({ ...(config !== undefined && { config }), ...(generation !== undefined && { generation }) });
}

/** What is known of the classes of a run's model. */
export interface RunClasses {
  /** Their number. */
  readonly count?: number | undefined;
  /** The names in the data, such as those of folders. */
  readonly named?: readonly string[] | undefined;
}

/**
 * The file of settings of a run's folder: the published form if the model has one, else its settings by name. `beside`
 * is what `filesBeside` found.
 */
export function runConfig(
  model: Model,
  config: Config,
  source: string,
  beside: string,
  classes: RunClasses = {},
): WrittenConfig | undefined {
  const { config: text } = contentsOf(beside);
  const published = writtenConfig(model, config, source);
  const before = text === undefined ? undefined : (JSON.parse(text) as JsonRecord);
  const named = withClassNames(model, published, namesOf(classes, classNamesIn(before)));
  return withOtherFields(model, config, named, text);
}

/** Writes what a run began with, and is none of its own, into its folder. */
export async function keepFiles(beside: string, folder: string): Promise<void> {
  const { generation } = contentsOf(beside);
  if (generation !== undefined) await writeFileAtomically(join(folder, generationFile), generation);
}

const contentsOf = (beside: string): Beside => (beside === "" ? {} : (JSON.parse(beside) as Beside));

/** The names in the data; without any, those that the classes had before if they are as many. */
function namesOf({ count, named }: RunClasses, before: ClassNames): ClassNames {
  if (named && named.length > 0) return everyClassName(Math.max(count ?? 0, named.length), named);
  return count === undefined || count === before.length ? before : [];
}
