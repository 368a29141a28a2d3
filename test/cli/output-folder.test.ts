/** The folders that a failed command leaves. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { inOutputFolder } from "../../cli/output-folder.ts";
import { scratch } from "./support.ts";

const folder = scratch("output-folder");
afterAll(() => folder.remove());

const failing = async () => {
  throw new Error("no weights");
};

it("removes the folders that it created when the work fails, and no others", async () => {
  mkdirSync(folder.at("there"));
  await expect(inOutputFolder(folder.at("there", "a", "b"), failing)).rejects.toThrow("no weights");
  expect(readdirSync(folder.at("there"))).toEqual([]);
  await expect(inOutputFolder(folder.at("there"), failing)).rejects.toThrow("no weights");
  expect(existsSync(folder.at("there"))).toBe(true);
});

it("keeps a folder that holds files", async () => {
  const half = async () => {
    writeFileSync(folder.at("half", "first.txt"), "1");
    await failing();
  };
  await expect(inOutputFolder(folder.at("half"), half)).rejects.toThrow("no weights");
  expect(readdirSync(folder.at("half"))).toEqual(["first.txt"]);
});
