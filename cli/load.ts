/** Resolves a command's argument: a bundled model, a TypeScript file, a .graph or .onnx file, or a job. */
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { findPackageJSON } from "node:module";
import { extname, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { checkJobSettings } from "../api/node-index.ts";
import {
  didYouMean,
  FileError,
  type Graph,
  HeddleError,
  type Precision,
  parseGraph,
  UsageError,
} from "../compiler/index.ts";
import {
  type Config,
  configure,
  kindOfValue,
  type Model,
  modelGraph,
  parseSettings,
  type TokenRun,
  trace,
} from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import { type JobFile, requireRunName, type Settings } from "../runtime/index.ts";
import { fittedToWeights, isFolder, modelOfFolder, sizedByWeights } from "./checkpoint.ts";
import { requireAlike } from "./copied-tensors.ts";
import { importedWeights, isOnnx, readOnnxModel } from "./imported-model.ts";
import { flattened } from "./own-config.ts";
import type { ParameterSource } from "./parameters.ts";
import { readableFault } from "./readable-fault.ts";
import { isScript, scripts } from "./script-names.ts";
import { settingsOf } from "./stages/settings.ts";
import { loadTypeScriptAsModules } from "./typescript-modules.ts";
import { tellUnread } from "./unread-tensors.ts";
import { userFault } from "./user-fault.ts";

/** Throws UsageError for a value that cannot be read, such as a revoked proxy. */
function isKind<K extends string>(value: unknown, kind: K): value is { readonly kind: K } {
  try {
    return typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === kind;
  } catch (error) {
    if (userFault(error) !== undefined) throw error;
    throw new UsageError(`an export of the file cannot be read: ${(error as Error).message}`);
  }
}

/**
 * The model of a name, a file or a published checkpoint's folder, with the sizes in the `config.json` beside its
 * weights.
 */
async function loadModel(source: string, weights: string | undefined): Promise<Model> {
  const bundled = bundledModels.find((m) => m.name === source);
  if (!bundled && isFolder(source)) return await modelOfFolder(source);
  if (!bundled && !isScript(source)) throw unknownModel(source);
  const model =
    bundled ?? pick<Model>(await importFile(source), "heddle.model", source, "export default defineModel({ ... })");
  return weights === undefined ? model : await sizedByWeights(model, weights);
}

/**
 * Whether a source is a model: a bundled one's name, a checkpoint's folder, or a file that exports a model and no job.
 */
export async function isModel(source: string): Promise<boolean> {
  if (bundledModels.some((m) => m.name === source) || isFolder(source)) return true;
  if (!isScript(source)) return false;
  const found = Object.values(await importFile(source));
  return found.some((v) => isKind(v, "heddle.model")) && !found.some((v) => isKind(v, "heddle.job"));
}

/** The model whose stages are to be trained. */
export const loadStagedModel = (source: string): Promise<Model> => loadModel(source, undefined);

/** Selects a graph of a source. */
export interface GraphChoice {
  /** `--set` of the command line. */
  readonly set: readonly string[];
  /** One of the model's other graphs, by name. */
  readonly graph?: string;
}

export interface LoadOptions extends GraphChoice {
  /** The weights that the model is for, if known. */
  readonly weights?: string | undefined;
  /** A stage whose settings `--set` can also set. */
  readonly stage?: string;
}

/** A command's subject: a graph, and its model and configuration unless it is a bare graph. */
export interface NamedModel {
  readonly name: string;
  readonly graph: Graph;
  readonly model?: Model;
  readonly config?: Config;
  /** The stage's settings from `--set`, by dotted keys. */
  readonly ofStage?: Settings;
  /**
   * Settings from `--set`, by dotted keys: they take precedence over the files beside weights, even if they are the
   * defaults.
   */
  readonly given?: readonly string[];
  /** Runs of ids that inputs must contain. */
  readonly runs: Readonly<Record<string, TokenRun>>;
  /** The weights stored in the source, as in an ONNX file. */
  readonly own?: ParameterSource;
}

/**
 * The model of a name, a TypeScript file, a checkpoint's folder, a .graph or an .onnx file, with `--set` applied,
 * adapted to the given weights: differences from them are reported, unless `--set` makes them.
 */
export async function loadConfigured(source: string, options: LoadOptions): Promise<NamedModel> {
  if (extname(source) === ".graph") {
    const graph = await readGraph(source, options);
    return { name: graph.name, graph, runs: {} };
  }
  if (isOnnx(source)) return await onnxModel(source, options);
  const { set, weights, graph: named, stage } = options;
  const model = await loadModel(source, weights);
  const recipe = stage === undefined ? undefined : model.stages?.[stage]?.(model.config);
  const reachable = recipe ? settingsOf(model, recipe) : model.config;
  const asked = parseSettings({ name: model.name, config: reachable, configs: model.configs }, set);
  const isOfModel = ([key]: readonly [string, unknown]) => Object.hasOwn(model.config, key);
  const settings = Object.fromEntries(Object.entries(asked).filter(isOfModel));
  const ofStage = flattened(Object.fromEntries(Object.entries(asked).filter((s) => !isOfModel(s))));
  const chosen = configure(model, settings);
  const given = Object.keys(flattened(settings));
  const config = weights === undefined ? chosen : await fittedToWeights(model, chosen, weights, given);
  if (weights !== undefined) {
    await requireAlike(model, config, weights);
    await tellUnread(model, config, weights);
  }
  const graph = trace(model, config, named === undefined ? {} : { graph: named });
  const runs = modelGraph(model, named).runs?.(config) ?? {};
  return { name: model.name, graph, model, config, ofStage, given, runs };
}

/** An ONNX file, whose dynamic sizes `--set` binds. */
async function onnxModel(source: string, { set, graph: named }: GraphChoice): Promise<NamedModel> {
  if (named !== undefined) throw new UsageError(`--graph selects a graph of a model; "${source}" has a single graph`);
  const { graph, parameters } = await readOnnxModel(source, set);
  return { name: graph.name, graph, runs: {}, own: importedWeights(source, parameters) };
}

async function readGraph(source: string, { set, graph }: GraphChoice): Promise<Graph> {
  if (set.length > 0)
    throw new UsageError(`--set changes a model's configuration; "${source}" is a graph, which has none`);
  if (graph !== undefined) throw new UsageError(`--graph selects a graph of a model; "${source}" is a single graph`);
  return parseGraph(await readText(source), source);
}

/** Whether a source is a file that exports a job. */
export const isJob = async (source: string): Promise<boolean> =>
  isScript(source) && Object.values(await importFile(source)).some((v) => isKind(v, "heddle.job"));

/**
 * The job of a TypeScript file, and its settings from `--set` and `--precision`. Throws UsageError if a precision is
 * given for a job that has no such setting, and for settings that break a rule.
 */
export async function loadJob(source: string, settings: readonly string[], precision?: Precision) {
  if (!isScript(source))
    throw new UsageError(`"${source}" is not a job: give a TypeScript file that exports defineJob({ ... })`);
  const job = pick<JobFile>(await importFile(source), "heddle.job", source, "export default defineJob({ ... })");
  requireRunName(job.name);
  if (precision !== undefined && !Object.hasOwn(job.config, "precision"))
    throw new UsageError(
      `the job ${job.name} has no setting "precision": give it one, such as "f32", and pass it to defineStage`,
    );
  if (precision !== undefined && settings.some((s) => s.startsWith("precision=")))
    throw new UsageError("--precision cannot be combined with --set precision=: give one of them");
  const texts = precision === undefined ? settings : [...settings, `precision=${precision}`];
  const given = parseSettings(job as { name: string; config: Config }, texts) as Settings;
  const config = { ...job.config, ...given };
  checkJobSettings(job, config);
  return { job, given, config };
}

function unknownModel(source: string): UsageError {
  if (existsSync(source))
    return new UsageError(`"${source}" is not a model: a model file ends in ${scripts.join(", ")}, .graph or .onnx`);
  const names = bundledModels.map((m) => m.name);
  const longer = names.filter((name) => name.includes(source.toLowerCase())).slice(0, 3);
  const known = longer.length > 0 ? `; did you mean "${longer.join('" or "')}"?` : didYouMean(source, names) || ".";
  return new UsageError(
    `unknown model "${source}"${known} Give a .ts, .graph or .onnx file, a checkpoint's folder, or the name of a bundled model: heddle models lists them.`,
  );
}

async function importFile(source: string): Promise<Record<string, unknown>> {
  const path = resolve(source);
  if (!existsSync(path)) throw new FileError(`no such file: "${source}"`);
  loadTypeScriptAsModules();
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (thrown) {
    const error = readableFault(thrown);
    if (error instanceof HeddleError) throw error;
    const why = userFault(error) ?? whereAndWhy(error);
    const hint = await loadingHint(error, findPackageJSON(pathToFileURL(path)));
    throw new FileError(`"${source}" cannot be loaded: ${why}${hint && `\n  hint: ${hint}`}`, { cause: error });
  }
}

/** A hint for a file that Node cannot load; "" if there is none. */
async function loadingHint(error: unknown, manifest: string | undefined): Promise<string> {
  const { code, message } = Object(error) as NodeJS.ErrnoException; // anything can be thrown, undefined too
  if (code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX")
    return "Node only strips types: enum, namespace and parameter properties are not supported; use a union of strings, or plain fields";
  if (code === "ERR_MODULE_NOT_FOUND")
    return /^Cannot find module/.test(message)
      ? "an import needs the full file name, with its extension: ./layers.ts"
      : `npm install it next to the file; heddle itself is imported as "heddle", or in a checkout by path: ${languageDoor}`;
  const inCommonJs = /^(Cannot use import statement outside a module|Unexpected token 'export')$/.test(message);
  if (inCommonJs && manifest !== undefined)
    return `${manifest} makes it CommonJS: rename the file to .mts or .mjs, or set "type": "module" there`;
  const [, from, name] = /^The requested module '(.*)' does not provide an export named '(.*)'$/.exec(message) ?? [];
  if (from === undefined || !/(^heddle|\/(api|dsl)\/index\.[jt]s)$/.test(from)) return "";
  const known = Object.keys(await import("../api/index.ts"));
  return `heddle exports no "${name}"${didYouMean(name!, known)}; a type is imported as \`import type\``;
}

const languageDoor = fileURLToPath(new URL("../api/index.ts", import.meta.url));

/** The error and its location, without Node's module loading frames. */
function whereAndWhy(error: unknown): string {
  const lines = (error instanceof Error ? (error.stack ?? error.message) : String(error)).split("\n");
  return lines.filter((line) => line.trim() !== "" && !/^ {4}at /.test(line)).join("\n  ");
}

function pick<T>(module: Record<string, unknown>, kind: string, source: string, how: string): T {
  const what = kind.replace("heddle.", "");
  const whole = (found: unknown): T => {
    const { name, config, build } = found as Record<string, unknown>;
    if (typeof name === "string" && typeof config === "object" && typeof build === "function") return found as T;
    throw new UsageError(`"${source}" exports a ${what} without its name, config or build: ${how}`);
  };
  if (isKind(module.default, kind)) return whole(module.default);
  const found = Object.entries(module).filter(([, value]) => isKind(value, kind));
  if (found.length > 1) {
    const names = found.map(([name]) => name).join(", ");
    throw new UsageError(`"${source}" exports several ${what}s, ${names}: export one of them as default`);
  }
  if (found.length === 1) return whole(found[0]![1]);
  const other = "default" in module ? `, and its default export is ${kindOfValue(module.default)}` : "";
  throw new UsageError(`"${source}" exports no ${what}${other}: ${how}`);
}

async function readText(path: string): Promise<string> {
  if (existsSync(path) && !statSync(path).isFile()) throw new FileError(`"${path}" is not a file`);
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new FileError(`"${path}" cannot be read: ${(error as Error).message}`);
  }
}
