/** `heddle export --verify`: what cannot be shown to be right takes nobody's place. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { makeGraph, ops, printGraph } from "../../compiler/index.ts";
import { heddle, scratch } from "./support.ts";

const folder = scratch("verify");
afterAll(folder.remove);

/** The square root of x² - below, which is no number where `below` is large. */
function rootGraph(name: string, below: number): string {
  const x = ops.input("x", "f32", [{ name: "a", size: 4 }]);
  const root = ops.sqrt(ops.sub(ops.mul(x, x), below));
  writeFileSync(folder.at(name), printGraph(makeGraph("root", [{ name: "y", node: root }])));
  return folder.at(name);
}

it("keeps a file that agrees, and the file that was there when the next one does not", async () => {
  const out = folder.at("model.onnx");
  const good = await heddle("export", rootGraph("good.graph", -1), "--out", out, "--verify");
  expect([good.status, good.err]).toEqual([0, ""]);
  const before = readFileSync(out);
  const bad = await heddle("export", rootGraph("bad.graph", 1e6), "--out", out, "--verify");
  expect(bad.status).toBe(1);
  expect(bad.err).toMatch(/the exported file differs from .* by Infinity .*; it was not kept/);
  expect(readFileSync(out)).toEqual(before);
  expect(readdirSync(folder.at())).toEqual(["bad.graph", "good.graph", "model.onnx"]);
});

it("verifies an output that is an input as well, which has another name in the file", async () => {
  const x = ops.input("x", "f32", [{ name: "a", size: 4 }]);
  writeFileSync(folder.at("same.graph"), printGraph(makeGraph("same", [{ name: "x", node: x }])));
  const { status, out } = await heddle("export", folder.at("same.graph"), "--out", folder.at("same.onnx"), "--verify");
  expect([status, out]).toEqual([0, expect.stringContaining("largest difference 0.00e+0")]);
});
