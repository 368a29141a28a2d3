/** `--memory`: what a step takes is said by kind, and a budget is kept or refused with what is missing. */
import { afterAll, expect, it } from "vitest";
import { nvidiaMemory } from "../../cli/memory-budget.ts";
import { heddle, modelFile, scratch } from "./support.ts";

const folder = scratch("budget");
afterAll(() => folder.remove());
const job = modelFile("../support/job-of-any-batch.ts");

const small = (prefix: string, sizes: object) =>
  Object.entries(sizes).flatMap(([key, value]) => ["--set", `${prefix}.${key}=${value}`]);
const stage = [
  ...["inspect", "internvl-g", "--stage", "2", "--batch", "8"],
  ...small("vision", { width: 16, depth: 2, heads: 2, mlp: 24, image: 42, patch: 14 }),
  ...small("text", { width: 16, depth: 2, heads: 2, mlp: 24, vocab: 31, context: 6, queries: 3 }),
  ...["--set", "embed=8", "--set", "poolingHeads=2"],
];

interface Inspected {
  readonly memoryByKind: Readonly<Record<string, number>>;
  readonly kernels: { readonly count: number };
}

const inspected = async (...more: string[]) => JSON.parse((await heddle(...stage, "--json", ...more)).out) as Inspected;
const total = ({ memoryByKind }: Inspected) => Object.values(memoryByKind).reduce((a, b) => a + b, 0);

it("inspect keeps a budget with more kernels, or says the least", async () => {
  const plain = await inspected();
  expect(Object.keys(plain.memoryByKind)).toContain("saved for backward");
  const budget = Math.ceil(0.85 * total(plain));
  const fitted = await inspected("--memory", `${budget}B`);
  expect(total(fitted)).toBeLessThanOrEqual(budget);
  expect(fitted.kernels.count).toBeGreaterThan(plain.kernels.count);
  const { status, err } = await heddle(...stage, "--memory", "10kB");
  expect([status, err]).toEqual([
    1,
    expect.stringMatching(/@stage-2 needs at least [\d,]+ bytes of memory, and the budget is 10,000 bytes/),
  ]);
}, 60_000);

it("shares need a device that says what it has", async () => {
  expect((await heddle(...stage, "--memory", "0.5")).err).toContain("give bytes, as in --memory 24GiB");
  const cards = "NVIDIA H200, 143771\nNVIDIA A100-SXM4-80GB, 81920\n";
  expect(nvidiaMemory(cards, "NVIDIA H200 (Vulkan)")).toBe(143771 * 2 ** 20);
  expect(nvidiaMemory(cards, "AMD Radeon")).toBeUndefined();
  expect(nvidiaMemory("", "NVIDIA H200")).toBeUndefined();
});

it("train says what a step takes, and is refused on cpu and in too little", async () => {
  const train = ["train", job, "--set", "batch=4", "--runs", folder.at("runs")];
  const cpu = await heddle(...train, "--device", "cpu", "--memory", "1GB");
  expect([cpu.status, cpu.err]).toEqual([1, expect.stringContaining("--memory applies to WebGPU only")]);
  const webgpu = await heddle(...train, "--device", "webgpu", "--memory", "0.5");
  expect([webgpu.status, webgpu.err]).toEqual([
    0,
    expect.stringMatching(/memory of @\S+: .*trained parameters [\d.]+ k?B/),
  ]);
  const less = await heddle(...train, "--device", "webgpu", "--memory", "100B");
  expect([less.status, less.err]).toEqual([1, expect.stringContaining("needs at least")]);
}, 120_000);
