import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";

const folder = mkdtempSync(join(tmpdir(), "heddle-quiet-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What a process writes to stderr. */
function stderrOf(program: string, environment: Readonly<Record<string, string>> = {}): string {
  const made = spawnSync(process.execPath, ["--no-warnings", "--input-type=module", "-e", program], {
    env: { ...process.env, VK_LOADER_DEBUG: "", ...environment },
    encoding: "utf8",
  });
  expect(made.status).toBe(0);
  return made.stderr;
}

const moduleAt = (path: string) => JSON.stringify(new URL(path, import.meta.url).href);

test.skipIf(process.platform === "win32")("what a call writes to stderr is kept off it, and nothing else", () => {
  const program = `
    import { writeSync } from "node:fs";
    import { quietly } from ${moduleAt("../../backends/webgpu/runtime/node-quiet.ts")};
    writeSync(2, "before;");
    if ((await quietly(() => (writeSync(2, "during;"), 7))) !== 7) process.exit(1);
    await quietly(() => { writeSync(2, "during;"); throw new Error(); }).catch(() => writeSync(2, "thrown;"));
    writeSync(2, "after");`;
  expect(stderrOf(program)).toBe("before;thrown;after");
  expect(stderrOf(program, { VK_LOADER_DEBUG: "warn" })).toBe("before;during;during;thrown;after");
});

test("a driver that does not load is passed over without a word", () => {
  const manifest = join(folder, "broken.json");
  const ICD = { library_path: join(folder, "none.so"), api_version: "1.3.0" };
  writeFileSync(manifest, JSON.stringify({ file_format_version: "1.0.0", ICD }));
  const program = `
    import { listAdapters } from ${moduleAt("../../backends/webgpu/node-index.ts")};
    await listAdapters();`;
  expect(stderrOf(program, { VK_DRIVER_FILES: manifest, VK_ICD_FILENAMES: manifest })).toBe("");
});
