/**
 * Commands ask a model's record, never its name: no text of theirs is a bundled model's name, or a word that one begins
 * with.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bundledModels } from "../../models/index.ts";

const root = join(import.meta.dirname, "../..");

const isName = (text: string) =>
  bundledModels.some(({ name, checkpoints }) =>
    [name, ...(checkpoints?.config?.types ?? [])].some((known) => known === text || known.startsWith(`${text}-`)),
  );

/** Texts of one word; examples in messages stand among others. */
const words = (code: string): string[] =>
  [...code.replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "").matchAll(/(["'`])([\w.-]+)\1/g)].map(([, , word]) => word!);

test("no command contains a model's name", () => {
  const found = globSync("{cli,runtime,data}/**/*.ts", { cwd: root }).flatMap((file) =>
    words(readFileSync(join(root, file), "utf8"))
      .filter(isName)
      .map((word) => `${file}: ${word}`),
  );
  expect(found).toEqual([]);
  expect(words('if (name === "gpt2") return; // "resnet-50"').filter(isName)).toEqual(["gpt2"]);
  expect(["internvl", "clip-vit", "internvl_chat"].map(isName)).toEqual([true, true, true]);
});
