/** The folders that a failed command leaves. */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { inOutputFolder } from "../../cli/output-folder.ts";
import { tensorToWrite, writeSafetensors } from "../../runtime/index.ts";
import { heddle, scratch } from "./support.ts";

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

it("compile leaves no folder where a weight does not fit f16", async () => {
  const axes = [
    { name: "a", size: 4 },
    { name: "b", size: 2 },
  ];
  const product = '%w = parameter "w" init constant(value=1) : f32[a=4, b=2]\n%0 = contract %x, %w over [a]';
  writeFileSync(folder.at("g.graph"), `graph @g(%x: f32[c=3, a=4]) {\n${product}\nreturn %0\n}\n`);
  const large = tensorToWrite("w", { dtype: "f32", axes, data: new Float32Array(8).fill(1e6) });
  await writeSafetensors(folder.at("w.safetensors"), [large]);
  const weights = ["--target", "webgpu", "--dtype", "f16", "--weights", folder.at("w.safetensors")];
  const ended = await heddle("compile", folder.at("g.graph"), ...weights, "--out", folder.at("new", "bundle"));
  expect(ended).toMatchObject({ status: 1, err: expect.stringContaining("1000000 is outside the range of f16") });
  expect(existsSync(folder.at("new"))).toBe(false);
});
