/** What cannot fit is refused before any of it is taken. */
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { requireHostMemory } from "../../backends/backend.ts";
import { bindSizes, makeGraph, ops, printGraph, symbol } from "../../compiler/index.ts";
import { heddle, modelFile, scratch } from "./support.ts";

const folder = scratch("memory");
afterAll(() => folder.remove());
const job = modelFile("../support/job-of-any-batch.ts");

it.each(["cpu", "webgpu"])(
  "a batch of millions on %s is refused in words, and leaves no run",
  async (device) => {
    const runs = folder.at(`runs-${device}`);
    const train = ["train", job, "--device", device, "--runs", runs];
    const { status, err } = await heddle(...train, "--set", "batch=30000000");
    expect(status).toBe(1);
    expect(err).toMatch(
      device === "cpu" ? /@tiny needs at least \d+\.\d GB of memory/ : /UnsupportedError: a kernel reads or writes/,
    );
    expect(err).toContain("hint: ");
    expect(err).not.toMatch(/@compute|var<storage|fn main/);
    expect(err.length).toBeLessThan(2000);
    expect(existsSync(runs) ? readdirSync(runs) : []).toEqual([]);
  },
  60_000,
);

it("a graph of tensors beyond this machine is not verified", async () => {
  const axes = [
    { name: "a", size: 600_000 },
    { name: "b", size: 600_000 },
  ];
  const x = ops.input("x", "f32", axes);
  writeFileSync(folder.at("huge.graph"), printGraph(makeGraph("huge", [{ name: "y", node: ops.mul(x, x) }])));
  const { status, err } = await heddle("export", folder.at("huge.graph"), "--out", folder.at("huge.onnx"), "--verify");
  expect([status, err]).toEqual([1, expect.stringMatching(/@huge needs at least \d+\.\d GB of memory/)]);
  expect(readdirSync(folder.at()).filter((name) => name.includes("onnx"))).toEqual([]);
});

it("only what is surely made is counted, and open sizes are not", () => {
  const small = { name: "a", size: 10 };
  const batch = { name: "batch", size: symbol("batch") };
  const x = ops.input("x", "f32", [batch, small]);
  const graph = makeGraph("g", [{ name: "y", node: ops.mul(x, x) }]);
  expect(() => requireHostMemory(graph, { available: 0 })).not.toThrow();
  const bound = bindSizes(graph, { batch: 100 });
  expect(() => requireHostMemory(bound, { available: 4000 })).not.toThrow();
  expect(() => requireHostMemory(bound, { available: 3999 })).toThrow(
    /@g needs at least .* most of it for the result of mul \(f32\[batch=100, a=10\]\)/,
  );
  expect(() => requireHostMemory(bound, { available: 4000, besides: 1 })).toThrow(/needs at least/);
});

it.each(["1.5", "512", "0", "1e3"])("--memory %s is neither a share nor a size", async (given) => {
  const { status, err } = await heddle("inspect", job, "--memory", given);
  expect(err).toMatch(/must be a (fraction up to 1 or a )?size/);
  expect(status).toBe(1);
});
