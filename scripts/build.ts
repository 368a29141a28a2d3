/**
 * Builds the published package into dist/, or a folder that is named: JavaScript and declarations, and what is neither.
 */
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);
const at = (path: string): string => fileURLToPath(new URL(path, root));
const dist = resolve(process.argv[2] ?? at("dist"));

rmSync(dist, { recursive: true, force: true });
const typescript = spawnSync(
  process.execPath,
  [at("node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json", "--outDir", dist],
  {
    cwd: at("."),
    stdio: "inherit",
  },
);
if (typescript.status !== 0) process.exit(typescript.status ?? 1);
for (const file of ["run.js", "run.d.ts"])
  cpSync(at(`backends/webgpu/bundle/${file}`), join(dist, "backends/webgpu/bundle", file));

// package.json's "imports" and "sideEffects" name the sources; from dist/ on, its own name what was built of them.
const { version, imports, sideEffects } = JSON.parse(readFileSync(at("package.json"), "utf8")) as Readonly<
  Record<string, unknown>
>;
const ofSources = JSON.stringify({ version, type: "module", sideEffects, imports }, null, 2);
writeFileSync(join(dist, "package.json"), `${ofSources.replaceAll('.ts"', '.js"')}\n`);

// The types of WebGPU are in TypeScript's own library of a page from version 6 on, and must not be declared twice:
// older versions enter by a file that brings them (package.json: "types@<6").
for (const entry of ["api/index", "api/browser", "backends/webgpu/index"]) {
  const name = entry.split("/").at(-1)!;
  const text = `/// <reference types="@webgpu/types" />\nexport * from "./${name}.js";\n`;
  writeFileSync(join(dist, `${entry}-typescript-5.d.ts`), text);
}
