/** Wrong axes are red in the editor: the compiler agrees with every expectation of wrong-axes.ts. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";

const folder = mkdtempSync("test/types/scratch-");
afterAll(() => rmSync(folder, { recursive: true }));

/** Error lines of tsc for one file. */
function typeErrors(file: string): string[] {
  const config = join(folder, "tsconfig.json");
  writeFileSync(
    config,
    JSON.stringify({ extends: "../../../tsconfig.json", include: [], files: [join("..", "..", "..", file)] }),
  );
  try {
    execFileSync(process.execPath, ["node_modules/typescript/bin/tsc", "--noEmit", "-p", config], { encoding: "utf8" });
    return [];
  } catch (error) {
    return ((error as { stdout: string }).stdout ?? "").split("\n").filter((l) => l.includes("error TS"));
  }
}

it("every line that is wrong is an error, and nothing else is", () => {
  expect(typeErrors("test/types/wrong-axes.ts")).toEqual([]);
}, 60_000);

it("and the check fails when a wrong line is no longer expected", () => {
  const source = readFileSync("test/types/wrong-axes.ts", "utf8");
  const file = join(folder, "unexpected.ts");
  writeFileSync(file, source.replace(/ *\/\/ @ts-expect-error softmax.*\n/, "").replaceAll("../../", "../../../"));
  const errors = typeErrors(file);
  expect(errors).toHaveLength(1);
  expect(errors[0]).toContain("key_token");
}, 60_000);
