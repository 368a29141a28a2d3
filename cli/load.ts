/** Finds what a command was given: a bundled model, a TypeScript file, a .graph file, or a job. */
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { extname, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { didYouMean, FileError, type Graph, HeddleError, parseGraph, UsageError } from "../compiler/index.ts";
import { type Config, type Model, parseSettings, trace } from "../dsl/index.ts";
import { bundledModels } from "../models/index.ts";
import type { JobFile, Setting } from "../runtime/index.ts";

const isKind = <K extends string>(value: unknown, kind: K): value is { readonly kind: K } =>
  typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === kind;

/** The model that a name or a file stands for. */
export async function loadModel(source: string): Promise<Model> {
  const bundled = bundledModels.find((m) => m.name === source);
  if (bundled) return bundled;
  if (!isScript(source)) throw unknownModel(source);
  return pick<Model>(await importFile(source), "heddle.model", source, "export default defineModel({ ... })");
}

/** The graph of a model's name, TypeScript file or .graph file, with `--set` applied. */
export async function loadGraph(source: string, settings: readonly string[]): Promise<Graph> {
  if (extname(source) === ".graph") {
    if (settings.length > 0)
      throw new UsageError(`--set changes a model's configuration; "${source}" is a graph, which has none`);
    return parseGraph(await readText(source), source);
  }
  const model = await loadModel(source);
  return trace(model, parseSettings(model, settings));
}

/** The job of a TypeScript file, and its configuration with `--set` applied. */
export async function loadJob(source: string, settings: readonly string[]) {
  if (!isScript(source))
    throw new UsageError(`"${source}" is no job: give a TypeScript file that exports defineJob({ ... })`);
  const job = pick<JobFile>(await importFile(source), "heddle.job", source, "export default defineJob({ ... })");
  const overrides = parseSettings(job as { name: string; config: Config }, settings);
  return { job, config: { ...job.config, ...(overrides as Readonly<Record<string, Setting>>) } };
}

const isScript = (source: string): boolean => [".ts", ".mts", ".js", ".mjs"].includes(extname(source));

function unknownModel(source: string): UsageError {
  const names = bundledModels.map((m) => m.name);
  return new UsageError(
    `there is no model "${source}"${didYouMean(source, names) || "."} Give a .ts or .graph file, or one of ${names.join(", ")}.`,
  );
}

async function importFile(source: string): Promise<Record<string, unknown>> {
  const path = resolve(source);
  if (!existsSync(path)) throw new FileError(`there is no file "${source}"`);
  try {
    return (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  } catch (error) {
    if (error instanceof HeddleError) throw error;
    throw new FileError(`"${source}" cannot be loaded: ${whereAndWhy(error)}`, { cause: error });
  }
}

/** What was thrown, and where, without the frames of Node that loaded the file. */
function whereAndWhy(error: unknown): string {
  const lines = (error instanceof Error ? (error.stack ?? error.message) : String(error)).split("\n");
  return lines.filter((line) => line.trim() !== "" && !/^ {4}at .*\bnode:/.test(line)).join("\n  ");
}

function pick<T>(module: Record<string, unknown>, kind: string, source: string, how: string): T {
  const found = isKind(module.default, kind) ? module.default : Object.values(module).find((v) => isKind(v, kind));
  if (found === undefined) throw new UsageError(`"${source}" exports no ${kind.replace("heddle.", "")}: ${how}`);
  return found as T;
}

async function readText(path: string): Promise<string> {
  if (existsSync(path) && !statSync(path).isFile()) throw new FileError(`"${path}" is not a file`);
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    throw new FileError(`"${path}" cannot be read: ${(error as Error).message}`);
  }
}
