/** `heddle plan` and `heddle inspect job.ts`: what they print of small stages and jobs, and what they refuse. */
import { describe, expect, it } from "vitest";
import { gpuTest } from "../support/adapter.ts";
import { heddle, modelFile } from "./support.ts";

const small = (prefix: string, sizes: object) =>
  Object.entries(sizes).flatMap(([key, value]) => ["--set", `${prefix}.${key}=${value}`]);
const tiny = [
  "internvl-g",
  ...small("vision", { width: 32, depth: 2, heads: 2, mlp: 48, image: 28, patch: 14 }),
  ...small("text", { width: 32, depth: 2, heads: 2, mlp: 48, vocab: 61, context: 6, queries: 3 }),
  ...["--set", "embed=16", "--set", "poolingHeads=2"],
];
const inStages = modelFile("../support/job-in-stages.ts");
const anyBatch = modelFile("../support/job-of-any-batch.ts");

async function planned(...args: readonly string[]): Promise<string> {
  const { out, err, status } = await heddle("plan", ...args);
  expect([status, err]).toEqual([0, ""]);
  return out;
}
// biome-ignore lint/suspicious/noExplicitAny: figures of a report, each compared by the test that reads it.
const figures = async (...args: readonly string[]): Promise<any> => JSON.parse(await planned(...args, "--json"));

describe("heddle plan", () => {
  it("prints a job on one device, with the largest batch that fits", async () => {
    expect(await planned(anyBatch, "--hardware", "M2-Max", "--memory", "1MB")).toMatchSnapshot();
  });

  it("prints a stage in f16, in micro-batches", async () => {
    const args = [...tiny, "--stage", "2", "--hardware", "H200", "--precision", "f16", "--batch", "1000"];
    expect(await planned(...args)).toMatchSnapshot();
  });

  it("prints a stage on devices that a network joins", async () => {
    const args = [
      ...tiny,
      "--stage",
      "2",
      "--hardware",
      "160×A100-80G,IB-200G",
      "--batch",
      "128",
      "--efficiency",
      "0.5",
    ];
    expect(await planned(...args)).toMatchSnapshot();
  });

  it("fits the largest batch into the memory, and not one more", async () => {
    const stage = [anyBatch, "--hardware", "H200"];
    const { largest } = await figures(...stage, "--memory", "1MB");
    expect(largest.batch).toBeGreaterThan(1);
    expect(largest.tooMany).toBe(largest.batch + 1);
    const at = async (batch: number) => (await figures(...stage, "--batch", String(batch), "--memory", "1MB")).bytes;
    expect(await at(largest.batch)).toBeLessThanOrEqual(1e6);
    expect(await at(largest.batch + 1)).toBeGreaterThan(1e6);
  });

  gpuTest("counts kernels as they were timed on the device that is here", async () => {
    const here = [anyBatch, "--hardware", "here", "--batch", "2"];
    const [bound, timed] = [await figures(...here), await figures(...here, "--measure")];
    expect(bound.time.kernels).toBeUndefined();
    expect(timed.time.kernels).toBeGreaterThan(0);
    expect(timed.time.update).toBe(timed.time.kernels);
    expect(timed.samplesPerSecond).toBeCloseTo(timed.batch.update / timed.time.update, 6);
    expect(timed.memory).toEqual(bound.memory);
    const refused = async (...args: readonly string[]) => (await heddle("plan", anyBatch, "--measure", ...args)).err;
    expect(await refused("--hardware", "H200")).toContain("use --hardware here");
    expect(await refused("--hardware", "here", "--efficiency", "0.5")).toContain(
      "cannot be combined with --efficiency",
    );
  });

  it("takes a share of the device's memory", async () => {
    const { hardware } = await figures(
      ...tiny,
      "--stage",
      "2",
      "--hardware",
      "H200",
      "--memory",
      "0.5",
      "--batch",
      "2",
    );
    expect(hardware.memory).toBe(70.5e9);
  });

  it("says where nothing fits, and what each device would have of a divided state", async () => {
    const args = [...tiny, "--stage", "2", "--hardware", "4×H200", "--memory", "100kB"];
    const report = await figures(...args);
    expect(report).toMatchObject({
      fits: false,
      largest: { batch: 0, because: expect.stringContaining("needs at least") },
    });
    expect(report.sharded).toBeLessThan(report.bytes);
    expect(await planned(...args)).toContain("it does not fit");
  });

  it("plans what several devices take that share a step, by the graphs that they would run", async () => {
    const at = (hardware: string) => figures(...tiny, "--stage", "2", "--hardware", hardware, "--batch", "8");
    const [one, four] = [await at("H200"), await at("4×H200")];
    const { memory } = four;
    expect(one.memory["sums of accumulation"]).toBeUndefined();
    // Between the graphs that give gradients and the one that updates; features of all samples besides.
    expect(memory["sums of accumulation"]).toBeGreaterThan(memory["trained parameters"]);
    for (const kind of ["optimizer, mean", "optimizer, square", "frozen parameters"])
      expect(memory[kind]).toBe(one.memory[kind]);
    expect(four.host).toBeUndefined();
  });

  it("plans what each device keeps its part of, by the graphs that it would run", async () => {
    const at = (shard: string) =>
      figures(...tiny, "--stage", "2", "--hardware", "4×H200", "--batch", "8", "--shard", shard);
    const [optimizer, gradients, weights] = [await at("optimizer"), await at("gradients"), await at("weights")];
    const trained = optimizer.memory["trained parameters"];
    const part = (bytes: number) => expect(Math.abs(4 * bytes - trained)).toBeLessThanOrEqual(4 * 256);
    for (const { memory } of [optimizer, gradients, weights])
      for (const kind of ["optimizer, mean", "optimizer, square", "gradients of a device's ranges"]) part(memory[kind]);
    const sums = "sums of accumulation";
    expect(optimizer.memory[sums] - gradients.memory[sums]).toBe(trained); // features of samples stay
    expect(gradients.memory["trained parameters"]).toBe(trained);
    part(weights.memory["trained parameters"]);
    expect(weights.memory["frozen parameters"]).toBeUndefined();
    expect(weights.host).toBeGreaterThan(gradients.host);
    expect(weights.time.exchange).toBeGreaterThan(gradients.time.exchange);
    const { err } = await heddle("plan", ...tiny, "--stage", "2", "--hardware", "H200", "--shard", "weights");
    expect(err).toContain("--shard needs several devices");
  });

  it("divides efficiency out of the roofline, and adds what devices exchange", async () => {
    const args = (hardware: string, ...more: string[]) => [
      ...tiny,
      "--stage",
      "2",
      "--hardware",
      hardware,
      "--batch",
      "8",
      ...more,
    ];
    const one = await figures(...args("H200"));
    const half = await figures(...args("H200", "--efficiency", "0.5"));
    expect(half.time.update).toBeCloseTo(2 * one.time.update, 12);
    const { time, sent, parameters, hardware } = await figures(...args("2×H200", "--efficiency", "1"));
    expect(sent / hardware.link.bytesPerSecond).toBeCloseTo(time.exchange, 12);
    expect(hardware.link.bytesPerSecond).toBe(450e9);
    // Each sends half of the gradients twice; arenas are a little larger than what lies in them.
    const least = (4 * parameters.trained) / 450e9;
    expect(time.exchange).toBeGreaterThanOrEqual(least);
    expect(time.exchange).toBeLessThan(2 * least);
  });

  it("plans a user's own job, at its own batch", async () => {
    const report = await figures(anyBatch, "--hardware", "RTX-4090", "--set", "batch=6", "--memory", "1MB");
    expect(report).toMatchObject({
      subject: "batched",
      steps: 1,
      batch: { micro: 6, microBatches: 1, update: 6 },
      fits: true,
    });
    expect(report.largest.batch).toBeGreaterThan(6);
    expect(report.parameters.trained).toBe(report.parameters.all);
  });

  it.each([
    ["no stage of a model", ["internvl-g", "--hardware", "H200"], 'choose a stage of "internvl-g", as in --stage 2'],
    ["a stage of a job", [anyBatch, "--stage", "1", "--hardware", "H200"], "has one stage, tiny"],
    ["an unknown stage", [...tiny, "--stage", "9", "--hardware", "H200"], 'has no stage "9"'],
    [
      "unknown hardware",
      [...tiny, "--stage", "2", "--hardware", "H2000"],
      'unknown hardware "H2000"; did you mean "H200"',
    ],
    [
      "hardware of which there are several",
      [...tiny, "--stage", "2", "--hardware", "8×A100"],
      'did you mean "A100-80G" or "A100-40G"?',
    ],
    ["hardware by more than its name", [...tiny, "--stage", "2", "--hardware", "8xH100-SXM"], 'did you mean "H100"?'],
    ["many without a link", [...tiny, "--stage", "2", "--hardware", "9×H200"], "give the interconnect of 9 × H200"],
    [
      "more than one here",
      [...tiny, "--stage", "2", "--hardware", "2×here"],
      "give the interconnect of 2 devices like the one here",
    ],
    ["a job without precision", [anyBatch, "--hardware", "H200", "--precision", "f16"], 'has no setting "precision"'],
  ])("refuses %s", async (_, args, message) => {
    const { status, out, err } = await heddle("plan", ...args);
    expect([status, out]).toEqual([1, ""]);
    expect(err).toContain(message);
  });

  it.each([
    ["--efficiency", "0"],
    ["--efficiency", "1.5"],
    ["--memory", "much"],
    ["--batch", "0"],
  ])("refuses %s %s", async (option, value) => {
    const { status } = await heddle("plan", ...tiny, "--stage", "2", "--hardware", "H200", option, value);
    expect(status).toBe(1);
  });
});

describe("heddle inspect of a job", () => {
  it("says what it says of a stage", async () => {
    const { status, out } = await heddle("inspect", anyBatch);
    expect(status).toBe(0);
    expect(out.replace(/compiled in .*/, "compiled in ...")).toMatchSnapshot();
  });

  it("takes the job's batch unless --batch says another", async () => {
    const inspected = async (...more: string[]) =>
      JSON.parse((await heddle("inspect", anyBatch, "--json", ...more)).out);
    const [own, set, asked] = [await inspected(), await inspected("--set", "batch=7"), await inspected("--batch", "7")];
    expect([own.sizes.batch, set.sizes.batch, asked.sizes.batch]).toEqual([4, 7, 7]);
    expect(set.operations).toEqual(asked.operations);
    expect(own.operations.backward.macs).toBeGreaterThan(own.operations.forward.macs);
    expect(own.trainable).toMatchObject({ stage: "batched", parameters: own.parameters });
  });

  it("takes a stage that follows the job's own, and lists them", async () => {
    const inspected = async (...more: string[]) =>
      JSON.parse((await heddle("inspect", inStages, "--json", ...more)).out);
    const [first, second] = [await inspected(), await inspected("--stage", "second")];
    expect([first.sizes.batch, first.following, first.trainable.stage]).toEqual([4, ["second"], "staged"]);
    expect([second.sizes.batch, second.following, second.trainable.stage]).toEqual([8, undefined, "second"]);
    expect((await heddle("inspect", inStages)).out).toMatch(/--stage second +a stage that follows this one/);
    expect((await heddle("inspect", inStages, "--stage", "third")).err).toContain("has the stages tiny, second");
    expect(await inspected("--stage", "tiny")).toMatchObject({ sizes: first.sizes, following: ["second"] });
  });

  it("plans a stage that follows the job's own", async () => {
    const { subject, batch } = JSON.parse(await planned(inStages, "--stage", "second", "--hardware", "H200", "--json"));
    expect([subject, batch.update]).toEqual(["staged, stage second", 8]);
  });

  it("lists its kernels, and shows a stage of the pipeline", async () => {
    const kernels = await heddle("inspect", anyBatch, "--kernels", "*");
    expect(kernels.out).toMatch(/^stage-1|^\S+: \d+ kernels of \d+ shapes/);
    const pass = await heddle("inspect", anyBatch, "--pass", "canonicalize");
    expect(pass.out).toContain("graph @");
  });

  it.each([
    [["--stage", "1"], "--stage 1: the job"],
    [["--graph", "decode"], "--graph applies to models only"],
    [["--dtype", "f16"], "for a job, use --set precision=f16"],
    [["--set", "batsh=3"], "batsh"],
  ])("refuses %j", async (more, message) => {
    const { status, err } = await heddle("inspect", anyBatch, ...more);
    expect(status).toBe(1);
    expect(err).toContain(message);
  });
});
