/** A model's stage as a job: `heddle train MODEL --stage S --data ...` trains it like a file that exports a job. */

import { join } from "node:path";
import { checkJobSettings } from "../../api/node-index.ts";
import {
  type Axis,
  bindDim,
  type Graph,
  graphSymbols,
  inputName,
  isFeed,
  type Precision,
  type Sizes,
  tensorType,
  UsageError,
} from "../../compiler/index.ts";
import type { OnChange } from "../../data/index.ts";
import {
  type Config,
  checkpointFamily,
  checkSettings,
  configure,
  type FeedContext,
  type Model,
  parseSettings,
  type Recipe,
  type TrainingStep,
  trace,
  trainingStep,
} from "../../dsl/index.ts";
import { defineJob, type JobFile, type Settings, type TrainingJob, writeFileAtomically } from "../../runtime/index.ts";
import { isFolder } from "../checkpoint.ts";
import { imageSides, sizesOfSides } from "../image-sides.ts";
import { json } from "../output.ts";
import { flattened, nested } from "../own-config.ts";
import { requireReadBack } from "../read-back.ts";
import { recipeNamed } from "../stage-step.ts";
import type { WrittenConfig } from "../written-config.ts";
import { filesBeside, keepFiles, runConfig } from "./beside.ts";
import { feedStage } from "./feeding.ts";
import { keepPreprocessor, preprocessorBeside, seenBy } from "./images.ts";
import { recipeFor, runRules, settingsOf, validationSettings, withSettings } from "./settings.ts";
import { sizedBySources } from "./sizes.ts";
import { keepTokenizer, openText, tokenizerBeside } from "./text.ts";
import { stageValidation } from "./validation.ts";

export interface StageArguments {
  readonly set: readonly string[];
  readonly data: readonly string[];
  readonly filter: readonly string[];
  readonly validate: readonly string[];
  readonly from: readonly string[];
  readonly tokenizer?: string;
  /** Whether a run may be resumed although files changed. */
  readonly changedData?: boolean;
  readonly precision?: Precision;
}

export interface LoadedJob {
  readonly job: JobFile<Settings>;
  /** The settings given explicitly. */
  readonly given: Settings;
  readonly config: Settings;
}

/** The folder name of a stage's runs. */
export const stageRunName = ({ name }: Model, stage: string): string => `${name}-${stage}`;

/** The job of a stage of `base`, with the settings of a command line. */
export async function stageJob(base: Model, source: string, stage: string, args: StageArguments): Promise<LoadedJob> {
  requireOneLine({ data: args.data, filter: args.filter, validate: args.validate });
  const model = { ...base, config: await sizedBySources(base, args.from) };
  const make = recipeNamed(source, model, stage);
  const reachable = settingsOf(model, make(model.config));
  const precision = args.precision === undefined ? [] : [`precision=${args.precision}`];
  const asked = flattened(parseSettings({ ...model, config: reachable }, [...args.set, ...precision]));
  const config = configure(model, nested({ ...flattened(model.config), ...asked }, model.config));
  const { data } = make(config);
  const files = await filesOf(model, source, data, asked, args);
  const given: Settings = { ...asked, ...listsOf(args), ...files };
  const { vocabulary } = data ?? {};
  const text =
    vocabulary === undefined || args.data.length === 0 ? undefined : await openText(files.tokenizer ?? "", vocabulary);
  const recipe = recipeFor(make, config, asked, text); // a default may depend on another setting
  const defaults = flattened(settingsOf({ ...model, config }, recipe));
  const job = defineJob<Settings>({
    name: stageRunName(model, stage),
    summary: `stage ${stage} of ${model.name}${args.from.length === 0 ? `, which starts from ${recipe.startsFrom.join(" and ")}` : ""}`,
    config: {
      ...defaults,
      model: model.name,
      stage,
      data: "",
      filters: "",
      validate: "",
      preprocessor: "",
      beside: "",
    },
    rules: { ...runRules, ...recipe.rules },
    mayChange: ["images", "tokenizer", "workers"],
    build: (settings) => {
      requireValidation(stage, asked, settings);
      return build(model, source, stage, settings, args.changedData ? "next epoch" : "refuse");
    },
  });
  const all = { ...job.config, ...given };
  checkJobSettings(job, all);
  return { job, given, config: all };
}

/** The lists of a command line as settings: a run stores them as lines. */
function listsOf({ data, filter, validate }: StageArguments): Settings {
  const lists = Object.entries({ data, filters: filter, validate }).filter(([, texts]) => texts.length > 0);
  return Object.fromEntries(lists.map(([name, texts]) => [name, texts.join("\n")]));
}

/** The tokenizer, the preprocessor and other files to keep: as given, or beside the weights that a run starts from. */
async function filesOf(
  model: Model,
  source: string,
  data: Recipe["data"],
  asked: Settings,
  { tokenizer, from }: StageArguments,
): Promise<{ readonly tokenizer?: string; readonly preprocessor?: string; readonly beside?: string }> {
  const places = [...from, ...(isFolder(source) ? [source] : [])];
  const files = {
    tokenizer: tokenizer ?? String(asked.tokenizer ?? (await tokenizerBeside(from))),
    preprocessor: data?.image ? await preprocessorBeside(places) : "",
    beside: await filesBeside(model, from),
  };
  return Object.fromEntries(Object.entries(files).filter(([, file]) => file !== ""));
}

/** Throws UsageError for names with newlines: a run stores them as lines. */
function requireOneLine(options: Readonly<Record<string, readonly string[]>>): void {
  for (const [name, texts] of Object.entries(options)) {
    const broken = texts.find((text) => text.includes("\n"));
    if (broken !== undefined)
      throw new UsageError(
        `--${name} ${JSON.stringify(broken)} contains a line break: write "?" in its place, or give a symbolic link to it`,
      );
  }
}

/** Throws UsageError for settings of validation that a command gives to a run without. */
function requireValidation(stage: string, asked: Settings, { validate }: Settings): void {
  const idle = validationSettings.filter((name) => name in asked);
  if (validate === "" && idle.length > 0)
    throw new UsageError(
      `${idle.join(" and ")} ${idle.length > 1 ? "are settings" : "is a setting"} of validation, but stage ${stage} has none: give --validate, or leave ${idle.length > 1 ? "them" : "it"} out`,
    );
}

async function build(
  model: Model,
  source: string,
  stage: string,
  settings: Settings,
  onChange: OnChange,
): Promise<TrainingJob> {
  const { made, config, text } = await readRecipe(model, source, stage, settings);
  const rows = samplesPerMicroBatch(made, Number(settings.accumulate));
  const chosen = withSettings(made.stage, settings);
  const step = trainingStep(chosen);
  const sizes = { ...imageSizes(step.graph, made), batch: rows / (made.data.perRow ?? 1) };
  requireSizes(
    graphSymbols(step.graph).filter((s) => !Object.hasOwn(sizes, s)),
    stage,
  );
  requireReadBack(model, made.config, model.checkpoints?.config?.write(made.config));
  const judged = settings.validate === "" ? undefined : stageValidation(made, chosen, settings);
  const seen = seenBy(model, made, String(settings.preprocessor ?? "")); // runs of older versions have none
  const feeding = await feedStage(seen.recipe, settings, rows, text, inputTypes(step, sizes, made), onChange);
  const classes = { count: made.data.classes, named: feeding.classes };
  const kept = runConfig(model, made.config, source, String(settings.beside ?? ""), classes); // older runs have none
  return {
    step,
    steps: made.steps,
    sizes,
    seed: Number(settings.seed),
    checkpointEvery: Number(settings.checkpointEvery),
    checkpointMinutes: Number(settings.checkpointMinutes),
    model: trace(model, made.config),
    ...(model.checkpoints && { checkpoints: checkpointFamily(model.checkpoints, made.config) }),
    report: [...differences(model.config, config, made), ...(made.notes ?? []), ...seen.report, ...feeding.report],
    batches: feeding.batches,
    ...(made.data.image && made.data.kind !== "masks" && { ownRows: ["pixels"] }),
    listing: feeding.listing,
    ...(judged && { validate: judged(feeding.validation!) }),
    finish: ({ folder }) => keepBesideWeights(folder, kept, settings),
    told: feeding.told,
    dispose: feeding.dispose,
  };
}

type RecipeWithData = Recipe & { readonly data: NonNullable<Recipe["data"]> };

/** The recipe of a stage for the settings, the configuration they ask for, and the tokenizer that its data need. */
async function readRecipe(model: Model, source: string, stage: string, settings: Settings) {
  if (settings.data === "")
    throw new UsageError(`stage ${stage} of ${model.name} needs data: give --data, such as 'shards/{000..099}.tar'`);
  const make = recipeNamed(source, model, stage);
  const config = configure(model, nested(settings, model.config));
  const vocabulary = make(config).data?.vocabulary;
  const text = vocabulary === undefined ? undefined : await openText(String(settings.tokenizer), vocabulary);
  const made = recipeFor(make, config, settings, text);
  if (!made.data)
    throw new UsageError(
      `stage ${stage} of ${model.name} declares no data: add \`data\` to its recipe, or write a job for it`,
    );
  checkSettings(`stage ${stage}`, settings, made.rules ?? {});
  return { made: made as RecipeWithData, config, text };
}

/** Throws UsageError if micro-batches would not have equal numbers of whole rows. */
function samplesPerMicroBatch({ batch, data: { perRow = 1 } }: RecipeWithData, accumulate: number): number {
  const samples = batch / accumulate;
  if (!Number.isInteger(samples))
    throw new UsageError(`batch is ${batch}, but must be a multiple of accumulate, which is ${accumulate}`);
  if (samples % perRow !== 0)
    throw new UsageError(
      `a micro-batch has ${samples} samples, with ${perRow} in a row: batch / accumulate must be a multiple of ${perRow}`,
    );
  return samples;
}

/** Writes what the weights need to be used by other commands. */
async function keepBesideWeights(folder: string, config: WrittenConfig | undefined, settings: Settings) {
  if (config) await writeFileAtomically(join(folder, config.name), `${json(config.content)}\n`);
  await keepFiles(String(settings.beside ?? ""), folder);
  await keepTokenizer(String(settings.tokenizer), folder);
  await keepPreprocessor(String(settings.preprocessor ?? ""), folder);
  return {};
}

/** The types of the inputs that a batch feeds to a step, except its images; the axis "batch" stays symbolic. */
function inputTypes(
  { graph, accumulation }: TrainingStep,
  { batch: _, ...sizes }: Sizes,
  { data }: Recipe,
): FeedContext["inputs"] {
  const read = [...graph.inputs, ...(accumulation?.cached?.features.inputs ?? [])].filter(isFeed);
  const sized = ({ name, size }: Axis): Axis => ({ name, size: bindDim(size, sizes) });
  return Object.fromEntries(
    read
      .filter((node) => !data?.image || inputName(node) !== "pixels")
      .map((node) => [inputName(node), tensorType(node.type.dtype, node.type.axes.map(sized))]),
  );
}

/** The settings that the stage overrides, for messages. */
function differences(usual: Config, config: Config, { config: seen }: Recipe): string[] {
  const [before, given, now] = [flattened(usual), flattened(config), flattened(seen)];
  const changed = Object.keys(given).filter((key) => given[key] !== now[key] && given[key] !== before[key]);
  return changed.map((key) => `${key}: the model has ${given[key]}, this stage uses ${now[key]}`);
}

/** The sizes of the symbolic sides of images, if they have any, for those that the stage trains on. */
function imageSizes(graph: Graph, { data }: Recipe): Readonly<Record<string, number>> {
  const [sides, size] = [imageSides(graph), data?.image?.size];
  return (sides && size !== undefined ? sizesOfSides(sides, size) : undefined) ?? {};
}

function requireSizes(open: readonly string[], stage: string): void {
  if (open.length > 0)
    throw new UsageError(
      `stage ${stage} leaves ${open.join(", ")} open: a run needs fixed sizes, so set the model's setting with --set`,
    );
}
