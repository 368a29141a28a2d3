/**
 * A page that uses one function of the package bundles what that needs, with the ops, which register when they are
 * loaded.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import { bundleModule } from "../../scripts/browser/bundle.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-one-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The bundle of a module that exports one name of a room. */
async function bundleOf(name: string, room: string): Promise<{ bytes: number; path: string }> {
  const entry = join(folder, `${name}.ts`);
  writeFileSync(
    entry,
    `export { ${name} } from ${JSON.stringify(join(import.meta.dirname, "../..", room, "index.ts"))};`,
  );
  const code = String((await bundleModule(entry, { minify: true })).get("page.js"));
  const path = join(folder, `${name}.js`);
  writeFileSync(path, code);
  return { bytes: gzipSync(code).length, path };
}

test("an axis needs neither passes nor a parser", async () => {
  expect((await bundleOf("axis", "dsl")).bytes).toBeLessThan(40_000);
});

test("the parser of graphs knows the ops", async () => {
  const { path } = await bundleOf("parseGraph", "compiler");
  const { parseGraph } = (await import(pathToFileURL(path).href)) as typeof import("../../compiler/index.ts");
  const text = "graph @g(%x: f32[a=3]) {\n  %0 = gelu %x : f32[a=3]\n  return %0\n}\n";
  expect(parseGraph(text).outputs.map(({ node }) => node.op)).toEqual(["gelu"]);
});
