/**
 * The hash of the code that generates kernels: it changes with helpers, so that findings of other code are not used.
 */
import { cpSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { markOfCode } from "../../api/node-code-mark.ts";
import { scratch } from "../cli/support.ts";

const folder = scratch("code-mark");
afterAll(folder.remove);

it("changes with a helper that schedules call, its name and a new file, and with nothing else", async () => {
  const [lowering, copy] = [join(import.meta.dirname, "..", "..", "compiler", "lowering"), folder.at("lowering")];
  cpSync(lowering, copy, { recursive: true });
  const plain = await markOfCode([lowering]);
  expect(plain).toMatch(/^[0-9a-f]{16}$/);
  expect(await markOfCode([copy])).toBe(plain);
  writeFileSync(join(copy, "notes.md"), "no code");
  writeFileSync(join(copy, "index.d.ts"), "export {};");
  expect(await markOfCode([copy])).toBe(plain);
  const helper = join(copy, "schedules", "contraction", "row-parts.ts");
  writeFileSync(helper, "// another\n", { flag: "a" });
  const changed = await markOfCode([copy]);
  expect(changed).not.toBe(plain);
  renameSync(helper, join(copy, "schedules", "contraction", "renamed.ts"));
  const renamed = await markOfCode([copy]);
  mkdirSync(join(copy, "more"));
  writeFileSync(join(copy, "more", "new.ts"), "");
  const grown = await markOfCode([copy]);
  expect(new Set([plain, changed, renamed, grown]).size).toBe(4);
  rmSync(copy, { recursive: true });
  expect(await markOfCode([copy])).toBeUndefined();
});

it("is of the compiler and what prints its kernels, wherever the program was started", async () => {
  const root = join(import.meta.dirname, "..", "..");
  const rooms = ["compiler", "backends/webgpu/emit", "backends/webgpu/tune"].map((room) => join(root, room));
  expect(await markOfCode()).toBe(await markOfCode(rooms));
});
