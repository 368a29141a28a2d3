/** Builds the published package into dist/: JavaScript and declarations, and what is neither. */
import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);
const at = (path: string): string => fileURLToPath(new URL(path, root));

rmSync(at("dist"), { recursive: true, force: true });
const typescript = spawnSync(process.execPath, [at("node_modules/typescript/bin/tsc"), "-p", "tsconfig.build.json"], {
  cwd: at("."),
  stdio: "inherit",
});
if (typescript.status !== 0) process.exit(typescript.status ?? 1);
cpSync(at("backends/webgpu/bundle/run.js"), at("dist/backends/webgpu/bundle/run.js"));

// package.json's "imports" name the sources; from dist/ on, its own say what was built of them.
const { imports } = JSON.parse(readFileSync(at("package.json"), "utf8")) as { readonly imports: unknown };
const built = JSON.parse(JSON.stringify(imports).replaceAll('.ts"', '.js"')) as unknown;
writeFileSync(at("dist/package.json"), `${JSON.stringify({ type: "module", imports: built }, null, 2)}\n`);

// The types of WebGPU are in TypeScript's own library of a page from version 6 on, and must not be declared twice: older
// versions enter by a file that brings them (package.json: "types@<6").
for (const entry of ["api/index", "api/browser", "backends/webgpu/index"]) {
  const name = entry.split("/").at(-1)!;
  const text = `/// <reference types="@webgpu/types" />\nexport * from "./${name}.js";\n`;
  writeFileSync(at(`dist/${entry}-typescript-5.d.ts`), text);
}
