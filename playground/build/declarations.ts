/** The files of the editor's language service: heddle's own declarations and TypeScript's library, as one JSON file. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative, sep } from "node:path";
import { repository } from "./paths.ts";

const { resolve } = createRequire(import.meta.url);

/** File contents by path in the language service's file system: `/heddle/dsl/index.d.ts`, `/lib/lib.es2023.d.ts`. */
export function declarations(): Readonly<Record<string, string>> {
  const out = mkdtempSync(join(tmpdir(), "heddle-declarations-"));
  try {
    const compiler = join(dirname(resolve("typescript/package.json")), "bin", "tsc");
    const options = ["--noCheck", "--declaration", "--emitDeclarationOnly", "--outDir", out];
    execFileSync(process.execPath, [compiler, "-p", join(repository, "tsconfig.build.json"), ...options]);
    const rooms = ["compiler", "dsl", "models"].flatMap((room) => filesIn(join(out, room)));
    const own = rooms.map((path) => [
      `/heddle/${relative(out, path).split(sep).join("/")}`,
      readFileSync(path, "utf8"),
    ]);
    return Object.fromEntries([...own, ...library()]);
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.name.endsWith(".d.ts"))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** The library without DOM or Node: a model uses neither. */
function library(): [string, string][] {
  const folder = dirname(resolve("typescript-js/lib/typescript.js"));
  const names = readdirSync(folder).filter((name) => /^lib\.(es|decorators).*\.d\.ts$/.test(name));
  return names
    .filter((name) => !name.includes(".full."))
    .map((name) => [`/lib/${name}`, readFileSync(join(folder, name), "utf8")]);
}
