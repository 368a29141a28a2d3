/** What jobs refuse to be set to, and what a resumed run may be told. */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { writeShards } from "../../data/index.ts";
import { newestRunFolder, train } from "../../runtime/index.ts";
import { freshRunFolder } from "../../runtime/node-index.ts";
import { tinyJob } from "../support/tiny-job.ts";
import { watchingRuns } from "../support/watching-runs.ts";
import { heddle, modelFile, scratch } from "./support.ts";

const folder = scratch("settings");
afterAll(() => folder.remove());
const job = modelFile("../support/job-with-settings.ts");
const train4 = (runs: string, ...set: readonly string[]) => {
  const settings = set.filter((s) => s.includes("=")).flatMap((s) => ["--set", s]);
  const flags = set.filter((s) => !s.includes("="));
  return heddle("train", job, "--device", "cpu", "--runs", folder.at(runs), ...settings, ...flags);
};

it.each([
  ["steps", "0"],
  ["steps", "1.5"],
  ["batch", "0"],
  ["batch", "-1"],
  ["batch", "1.5"],
  ["checkpointEvery", "0"],
  ["checkpointEvery", "-1"],
])("%s=%s is refused in one line, and nothing is written", async (name, value) => {
  const { status, err } = await train4("refused", `${name}=${value}`);
  expect([status, err]).toEqual([1, `UsageError: settled.${name} is ${value}; expected a positive integer\n`]);
  expect(existsSync(folder.at("refused"))).toBe(false);
});

it("all settings that break a rule are told at once, a job's own rules too", async () => {
  const { err } = await train4("refused", "rate=0", "checkpointMinutes=0", "seed=-1");
  expect(err).toContain("settled.checkpointMinutes is 0; expected a positive number");
  expect(err).toContain("settled.seed is -1; expected an integer from 0");
  expect(err).toContain("settled.rate is 0; expected a positive number");
});

it("a job without settings is refused the same numbers", async () => {
  const wrong = { ...tinyJob(1.5), checkpointEvery: 0, checkpointMinutes: -1, sizes: { batch: 0 } };
  const options = { folder: folder.at("nothing"), backend: referenceBackend(), note: () => {} };
  await expect(train(wrong, options)).rejects.toThrow(
    /steps must be an integer of at least 1, got 1\.5\ncheckpointEvery must be .* got 0\nbatch must be .* got 0\ncheckpointMinutes must be a number above 0, got -1/,
  );
});

it("a checkpoint is saved when its time has come, whatever the steps", async () => {
  const at = await freshRunFolder(folder.at("time"), "run");
  const often = tinyJob(3, { checkpointEvery: 1000, checkpointMinutes: 1e-9 });
  const stop = new AbortController();
  let runs = 0;
  const backend = watchingRuns(referenceBackend(), () => {
    if (++runs === 3) expect(existsSync(`${at}/checkpoints/step-000002`)).toBe(true);
  });
  const options = { folder: at, backend, note: () => {}, signal: stop.signal };
  expect((await train(often, options)).steps).toBe(3);
});

it.each(["../x", "a/b", "..", "", "a\\b", ".hidden", "line\nend"])("a job called %j has no folder", async (name) => {
  const path = folder.at(`named-${Buffer.from(name).toString("hex")}.ts`);
  const other = pathToFileURL(job).href;
  writeFileSync(
    path,
    `import job from ${JSON.stringify(other)};\nexport default { ...job, name: ${JSON.stringify(name)} };`,
  );
  const { status, err } = await heddle("train", path, "--device", "cpu", "--runs", folder.at("names", "runs"));
  expect([status, err]).toEqual([1, expect.stringContaining("UsageError: invalid job name")]);
  expect(existsSync(dirname(folder.at("names", "runs")))).toBe(false);
  await expect(freshRunFolder(folder.at("names", "runs"), name)).rejects.toThrow(/invalid job name/);
  await expect(newestRunFolder(folder.at("names", "runs"), name)).rejects.toThrow(/invalid job name/);
});

it.runIf(process.platform === "linux")(
  "a folder that nobody can make is told, and waited for no more than any",
  async () => {
    await expect(freshRunFolder("/proc/none/runs", "run")).rejects.toThrow(
      /cannot create \/proc\/none\/runs: no such file/,
    );
    await expect(writeShards([] as never, "/proc/none", 1e9)).rejects.toThrow(/cannot be written to "\/proc\/none"/);
  },
);

it("a file where runs should lie is told by its own name", async () => {
  writeFileSync(folder.at("file"), "");
  await expect(freshRunFolder(folder.at("file"), "run")).rejects.toThrow(/cannot create [^ ]*file: it already exists/);
});

it("an empty folder of a job's name is no run to resume", async () => {
  await freshRunFolder(folder.at("empty"), "settled");
  const { status, err } = await train4("empty", "--resume");
  expect([status, err]).toEqual([1, expect.stringContaining("there is no run to resume")]);
});

describe("a run that goes on", () => {
  beforeAll(async () => {
    expect((await train4("run", "steps=2", "rate=0.001")).status).toBe(0);
  }, 60_000);

  it("a resumed run has the settings that it began with", async () => {
    const { status } = await train4("run", "steps=3", "--resume");
    expect(status).toBe(0);
    const summary = JSON.parse(readFileSync(folder.at("run", "settled", "summary.json"), "utf8"));
    expect(summary.config).toMatchObject({ steps: 3, rate: 0.001 });
  });

  it("others are refused, which and why", async () => {
    const { status, err } = await train4("run", "rate=0.1", "batch=8", "steps=9", "--resume");
    expect(status).toBe(1);
    expect(err).toContain(
      "the run to resume has other settings: rate was 0.001 and is now 0.1; batch was 4 and is now 8",
    );
    expect(err).toContain("these settings may change: steps, checkpointEvery, checkpointMinutes, delay, failsAt, note");
  });

  it("those that may change are told", async () => {
    const { status, err } = await train4("run", "steps=4", "rate=0.001", "--resume");
    expect([status, err]).toEqual([0, expect.stringContaining("setting steps was 3 and is now 4")]);
  });

  it("a damaged list of settings is told", async () => {
    writeFileSync(folder.at("run", "settled", "run.json"), '{"settings":[{}]}');
    const { status, err } = await train4("run", "--resume");
    expect([status, err]).toEqual([1, expect.stringContaining("it does not contain the settings of a run")]);
  });

  it("a missing one too, and the run goes on with the job's", async () => {
    rmSync(folder.at("run", "settled", "run.json"));
    const { status, err } = await train4("run", "steps=5", "--resume");
    expect([status, err]).toEqual([
      0,
      expect.stringContaining("settled has no run.json, and so no settings of the run"),
    ]);
  });
});
