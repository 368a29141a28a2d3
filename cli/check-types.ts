/** `--check-types`: type-checks a user's file before it is loaded. Node itself strips types and checks none. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative, resolve } from "node:path";
import { FileError, UsageError } from "../compiler/index.ts";
import { isScript } from "./script-names.ts";
import { isOurs } from "./user-fault.ts";

export const checkTypesFlag = ["--check-types", "check the file with TypeScript before it is loaded", false] as const;

/** The oldest version with all options used here. */
const oldest = [5, 8] as const;

/**
 * Throws UsageError with every type error of a file and its imports, with locations; for a file that is not a program;
 * and if TypeScript is found neither from the file's folder nor beside heddle.
 */
export async function checkTypes(source: string): Promise<void> {
  if (!isScript(source)) throw new UsageError(`--check-types needs a TypeScript or JavaScript file, got "${source}"`);
  const file = resolve(source);
  if (!existsSync(file)) throw new FileError(`no such file: "${source}"`);
  const lookups = [createRequire(file), createRequire(import.meta.url)];
  const errors = (await diagnosticsOf(file, lookups)).filter(({ path }) => !isOurs(path));
  if (errors.length === 0) return;
  const many = errors.length === 1 ? "a type error" : `${errors.length} type errors`;
  throw new UsageError([`"${source}" has ${many}`, ...errors.map((e) => `  ${e.text}`)].join("\n"));
}

interface Diagnostic {
  readonly path: string;
  readonly text: string;
}

async function diagnosticsOf(file: string, lookups: readonly NodeJS.Require[]): Promise<Diagnostic[]> {
  const { compiler, version } = typescriptFrom(lookups);
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major < oldest[0] || (major === oldest[0] && minor < oldest[1]))
    throw new UsageError(
      `--check-types needs TypeScript ${oldest.join(".")} or newer; this is ${version}, ${compiler}`,
    );
  const nodeTypes = found("@types/node/package.json", lookups);
  const options = [
    ...["--noEmit", "--strict", "--skipLibCheck", "--allowJs", "--checkJs", "--erasableSyntaxOnly"],
    ...[
      "--allowImportingTsExtensions",
      "--module",
      "nodenext",
      "--target",
      "esnext",
      "--lib",
      "esnext,dom,dom.iterable",
    ],
    ...(nodeTypes ? ["--types", "node", "--typeRoots", dirname(dirname(nodeTypes))] : []),
    ...(major >= 6 ? ["--ignoreConfig"] : []), // older versions ignore tsconfig.json if a file is named
    ...["--pretty", "false"],
  ];
  const { code, out } = await run(process.execPath, [compiler, ...options, file], dirname(file));
  const diagnostics = readDiagnostics(out, dirname(file));
  if (code !== 0 && diagnostics.length === 0)
    throw new UsageError(`TypeScript ${version} could not check the file:\n${out.trim()}`);
  return diagnostics;
}

/** The script and version of the TypeScript compiler. */
function typescriptFrom(lookups: readonly NodeJS.Require[]) {
  const manifest = found("typescript/package.json", lookups);
  if (!manifest)
    throw new UsageError(
      "--check-types needs TypeScript, which was not found from the file's folder or next to heddle\n  hint: npm install --save-dev typescript",
    );
  const { version, bin } = JSON.parse(readFileSync(manifest, "utf8")) as { version: string; bin: { tsc: string } };
  return { version, compiler: join(dirname(manifest), bin.tsc) };
}

function found(name: string, lookups: readonly NodeJS.Require[]): string | undefined {
  for (const lookup of lookups) {
    try {
      return lookup.resolve(name);
    } catch {
      // try the next
    }
  }
  return undefined;
}

/** Parses `file(line,column): error TS1: text` and its continuation lines. */
function readDiagnostics(out: string, folder: string): Diagnostic[] {
  const all: { path: string; text: string }[] = [];
  for (const line of out.split("\n")) {
    const [, name, at, column, text] = /^(.+?)\((\d+),(\d+)\): error (.*)$/.exec(line) ?? [];
    if (name !== undefined) {
      const path = resolve(folder, name);
      all.push({ path, text: `${shownPath(path)}:${at}:${column}: ${text}` });
    } else if (line.startsWith(" ") && all.length > 0) all.at(-1)!.text += `\n  ${line.trimEnd()}`;
  }
  return all;
}

/** Paths below the current folder are shown relative, others absolute. */
function shownPath(path: string): string {
  const near = relative(process.cwd(), path);
  return near.startsWith("..") ? path : near;
}

function run(command: string, args: readonly string[], cwd: string): Promise<{ code: number; out: string }> {
  return new Promise((done, failed) => {
    const child = spawn(command, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let out = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (out += String(data)));
    child.on("error", failed);
    child.on("close", (code) => done({ code: code ?? 1, out }));
  });
}
