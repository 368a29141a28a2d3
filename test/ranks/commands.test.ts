/** `heddle train` under a launcher: one log, one message when a rank ends, and ranks that differ are refused. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { deviceFor, type Seen } from "../../cli/rank-device.ts";
import { hostTensor, inputName, type SizedAxis } from "../../compiler/index.ts";
import { loadNewestCheckpoint, tensorToWrite, writeSafetensors } from "../../runtime/index.ts";
import { launchOf } from "../../runtime/node-index.ts";
import { tinyJob } from "../support/tiny-job.ts";
import { installHint, type Launcher, launch, launchers } from "./launchers.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-ranks-"));
afterAll(() => rmSync(root, { recursive: true }));
const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const [bin, job] = [file("../../bin/heddle.js"), file("../support/job-with-settings.ts")];

const trained = (launcher: Launcher, runs: string, ...set: readonly string[]) =>
  launch(launcher, 2, [
    ...[bin, "train", job, "--device", "cpu", "--runs", join(root, runs)],
    ...set.flatMap((s) => (s.startsWith("--") ? [s] : ["--set", s])),
  ]);

/** Ranks that have done some steps, with the process of each. */
async function runningOf(launcher: Launcher, runs: string, ...set: readonly string[]) {
  const started = trained(launcher, runs, "steps=1000000", ...set);
  const folder = join(root, runs, "settled");
  const metrics = join(folder, "metrics.jsonl");
  while (!existsSync(metrics) || readFileSync(metrics, "utf8").split("\n").length < 4) {
    if (started.child.exitCode !== null) throw new Error(`it ended: ${(await started.ended).err}`);
    await sleep(20);
  }
  return { ...started, folder, pids: rankProcesses(join(root, runs)) };
}

describe.each(["Open MPI", "MPICH"] as const)("a rank that is killed under %s", (name) => {
  const launcher = launchers[name];

  // Where every step is saved, most kills come while a checkpoint is written.
  const [rank, setting] = name === "Open MPI" ? ([1, "delay=5"] as const) : ([0, "checkpointEvery=1"] as const);
  it(`ends the others within seconds, with one message that names it: rank ${rank}, ${setting}`, async ({ skip }) => {
    if (!launcher) return skip(`${name}: ${installHint}`);
    const { pids, ended } = await runningOf(launcher, `killed-${rank}`, setting);
    const begun = performance.now();
    process.kill(pids[rank]!, "SIGKILL");
    const { status, err } = await ended;
    expect(performance.now() - begun).toBeLessThan(20_000);
    expect(status).not.toBe(0);
    expect(err.match(/ended unexpectedly/g)?.length).toBe(1);
    expect(err).toContain(`rank ${rank} (process ${pids[rank]}`);
    expect(err).not.toContain("backtrace");
  });
});

describe("under Open MPI", () => {
  const launcher = launchers["Open MPI"];
  beforeEach(({ skip }) => (launcher ? undefined : skip(installHint)));

  const train = (runs: string, ...set: readonly string[]) => trained(launcher!, runs, ...set);

  it("one rank writes, another number of ranks goes on, and losses stay those of one process", async () => {
    const first = await train("resumed", "steps=3", "--shard=weights").ended;
    expect(first.status).toBe(0);
    expect(first.err).toContain("2 ranks over Open MPI");
    expect(first.err).toMatch(/gradients and weights in shards: .* of host memory per rank/);
    expect(first.err).toMatch(/device of rank 1: onnxruntime/);
    expect(first.err).toMatch(/2 ranks: [\d.]+ s in communication, .*slowest is rank [01]/);
    expect(first.err.match(/run folder/g)?.length).toBe(1);
    expect(first.out.match(/^summary:/gm)?.length).toBe(1);
    const folder = join(root, "resumed", "settled");
    const { ranks } = JSON.parse(readFileSync(join(folder, "summary.json"), "utf8")) as { ranks: { count: number } };
    expect(ranks.count).toBe(2);
    const about = readFileSync(join(folder, "about.json"), "utf8");
    expect(about).toMatch(/"how": "finished; 2 ranks: .* in communication/);
    expect(readdirSync(join(root, "resumed"))).toEqual(["settled"]);
    const { heddle } = await import("../cli/support.ts");
    const run = (runs: string, ...more: string[]) =>
      heddle("train", job, "--device", "cpu", "--runs", join(root, runs), "--set", "steps=6", ...more);
    expect((await run("resumed", "--resume")).status).toBe(0);
    const whole = await run("whole", "--shard", "weights");
    expect([whole.status, whole.err.match(/--shard weights has no effect with a single/g)?.length]).toEqual([0, 1]);
    const [got, want] = [losses("resumed", "settled"), losses("whole", "settled")];
    expect(got.length).toBe(6);
    for (const [i, loss] of got.entries()) expect(Math.abs(loss - want[i]!)).toBeLessThan(1e-4);
  });

  it("a model's stage gives the losses of one process, and a broken picture changes nothing", async () => {
    const { colourData } = await import("../cli/colour-data.ts");
    const { heddle } = await import("../cli/support.ts");
    await colourData({ at: (...parts) => join(root, "colours", ...parts), remove: () => {} });
    const pairs = join(root, "colours", "pairs");
    writeFileSync(join(pairs, "broken.png"), "no picture");
    writeFileSync(join(pairs, "broken.txt"), "a broken one");
    const args = (runs: string) => [
      ...["train", file("../cli/tiny-model.ts"), "--stage", "1.1", "--device", "cpu", "--data", pairs],
      ...["--runs", join(root, runs), ...["workers=0", "batch=4", "steps=4"].flatMap((s) => ["--set", s])],
    ];
    const { status, err } = await launch(launcher!, 2, [bin, ...args("stage-two"), "--shard", "gradients"]).ended;
    expect([status, status === 0 ? "" : err]).toEqual([0, ""]);
    expect(err.match(/broken.png/g)?.length).toBeGreaterThan(0);
    expect((await heddle(...args("stage-one"))).status).toBe(0);
    const [got, want] = [losses("stage-two", "tiny-1.1"), losses("stage-one", "tiny-1.1")];
    expect(got.length).toBe(4);
    for (const [i, loss] of got.entries()) expect(Math.abs(loss - want[i]!)).toBeLessThan(1e-4);
  });

  it("rows of texts give the losses of one process", async () => {
    const { heddle } = await import("../cli/support.ts");
    const texts = join(root, "texts");
    mkdirSync(texts);
    for (const name of ["sea", "river"])
      writeFileSync(join(texts, `${name}.txt`), `The ${name} is wide and deep. `.repeat(9));
    const args = (runs: string) => [
      ...["train", "gpt2", "--stage", "language-modelling", "--from", file("../fixtures/families/gpt2")],
      ...["--data", texts, "--device", "cpu", "--runs", join(root, runs)],
      ...["steps=3", "batch=3", "length=12"].flatMap((s) => ["--set", s]),
    ];
    const [ranks, one] = [
      await launch(launcher!, 2, [bin, ...args("texts-two")]).ended,
      await heddle(...args("texts-one")),
    ];
    expect([ranks.status, ranks.status === 0 ? "" : ranks.err, one.status]).toEqual([0, "", 0]);
    const [got, want] = ["texts-two", "texts-one"].map((runs) => losses(runs, "gpt2-language-modelling"));
    expect(got!.length).toBe(3);
    for (const [i, loss] of got!.entries()) expect(Math.abs(loss - want![i]!)).toBeLessThan(1e-4);
  });

  it("a rank that is asked to stop stops all of them at one step, saved", async () => {
    const { pids, ended, folder } = await runningOf(launcher!, "stopped", "delay=5");
    process.kill(pids[1]!, "SIGTERM");
    const { err } = await ended;
    expect(err).toContain("stopped after step");
    const loaded = await loadNewestCheckpoint(join(folder, "checkpoints"), () => {});
    expect(loaded?.step).toBe(readFileSync(join(folder, "metrics.jsonl"), "utf8").trim().split("\n").length);
    await loaded?.dispose();
  });

  it("a library that cannot be loaded and a wrong option are reported once", async () => {
    const started = launch(launcher!, 2, [bin, "train", job, "--device", "cpu"], { HEDDLE_MPI: "/none/libmpi.so" });
    const { status, err } = await started.ended;
    expect([status, err.match(/no MPI library could be loaded/g)?.length]).toEqual([1, 1]);
    const option = await launch(launcher!, 2, [bin, "train", job, "--not-an-option"]).ended;
    expect(option.err.match(/unknown option '--not-an-option'/g)?.length).toBe(1);
  });

  it("an error that all ranks have is told once, and nothing is left", async () => {
    const { status, err } = await train("failing", "failsAt=0").ended;
    expect(status).not.toBe(0);
    expect(err.match(/batch 0 cannot be read/g)?.length).toBe(1);
    expect(readdirSync(join(root, "failing"))).toEqual([]);
  });

  it("ranks with other settings, data or weights to start from are refused before the first step, by name", async () => {
    const starter = join(root, "differ.mjs");
    const main = JSON.stringify(file("../../cli/index.ts"));
    writeFileSync(
      starter,
      `const { main } = await import(${main});
       const [what, runs] = process.argv.slice(2);
       const odd = process.env.OMPI_COMM_WORLD_RANK === "1";
       if (odd && what === "data") process.env.ODD_DATA = "1";
       const rate = odd && what === "settings" ? "0.5" : "0.25";
       const from = what === "weights" ? ["--from", ${JSON.stringify(root)} + "/" + (odd ? 1 : 0) + ".safetensors"] : [];
       process.exitCode = await main(["train", ${JSON.stringify(file("odd-job.ts"))}, "--device", "cpu", "--runs", runs, "--set", "rate=" + rate, ...from]);`,
    );
    const bias = tinyJob(1).step.trained.find((n) => n.type.axes.length === 1)!;
    const [axis] = bias.type.axes as readonly [SizedAxis];
    for (const rank of [0, 1]) {
      const value = hostTensor("f32", [axis], new Float32Array(axis.size).fill(rank));
      await writeSafetensors(join(root, `${rank}.safetensors`), [tensorToWrite(inputName(bias), value)]);
    }
    const runs = join(root, "differing");
    const [settings, data, weights] = [
      await launch(launcher!, 2, [starter, "settings", runs]).ended,
      await launch(launcher!, 2, [starter, "data", runs]).ended,
      await launch(launcher!, 2, [starter, "weights", runs]).ended,
    ];
    expect(weights.err.match(/ranks differ in weights of --from: rank 0 has \w+; rank 1 has \w+$/gm)?.length).toBe(1);
    expect(
      settings.err.match(/ranks differ in settings: rank 0 has {"rate":0.25}; rank 1 has {"rate":0.5}/g)?.length,
    ).toBe(1);
    expect(data.err.match(/ranks differ in first batch: rank 0 has one; rank 1 has another/g)?.length).toBe(1);
    expect(data.err).not.toContain("1/4 steps");
  });

  it("ranks with another version are refused when they meet, in the same words whichever is the older one", async () => {
    const starter = join(root, "versions.mjs");
    const runtime = JSON.stringify(file("../../runtime/node-index.ts"));
    writeFileSync(
      starter,
      `const { joinRanks } = await import(${runtime});
       const { OMPI_COMM_WORLD_RANK: rank } = process.env;
       const lost = (message) => void (message && process.stderr.write(message + "\\n"));
       await joinRanks(process.env, lost, { version: rank === process.argv[2] ? "0.9" : "1.0" }).catch(() => process.exit(1));
       process.stderr.write("they work together\\n");`,
    );
    const told = (older: string) => launch(launcher!, 2, [starter, older]).ended;
    for (const [older, who] of [
      ["0", "rank 0 has 0.9; rank 1 has 1.0"],
      ["1", "rank 0 has 1.0; rank 1 has 0.9"],
    ] as const) {
      const { status, err } = await told(older);
      expect(status).not.toBe(0);
      expect(err.match(/ranks differ in .*/g)).toEqual([`ranks differ in version: ${who}`]);
      expect(err).not.toContain("they work together");
    }
  });
});

const losses = (runs: string, run: string): readonly number[] =>
  readFileSync(join(root, runs, run, "metrics.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => (JSON.parse(line) as { loss: number }).loss);

/** The processes of ranks that work in a folder, by rank. */
function rankProcesses(folder: string): readonly number[] {
  const ranks: number[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [program, ...args] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
      if (program !== process.execPath || !args.includes(folder)) continue;
      const rank = /(?:OMPI_COMM_WORLD|PMI)_RANK=(\d+)/.exec(readFileSync(`/proc/${pid}/environ`, "utf8"))?.[1];
      if (rank !== undefined) ranks[Number(rank)] = Number(pid);
    } catch {
      // it has ended
    }
  }
  return ranks;
}

it("what a launcher started is read from its environment", () => {
  expect(launchOf({})).toBeUndefined();
  expect(launchOf({ SLURM_NTASKS: "8", SLURM_PROCID: "0" })).toBeUndefined(); // a batch script, which srun did not start
  expect(launchOf({ OMPI_COMM_WORLD_SIZE: "1", OMPI_COMM_WORLD_RANK: "0" })).toBeUndefined();
  const { rank, size, vendor } = launchOf({ OMPI_COMM_WORLD_SIZE: "4", OMPI_COMM_WORLD_RANK: "3" })!;
  expect({ rank, size, vendor }).toEqual({ rank: 3, size: 4, vendor: "openmpi" });
  expect(launchOf({ PMI_SIZE: "2", PMI_RANK: "1" })?.vendor).toBe("mpich");
  // As Slurm 22.05 sets them: srun --mpi=pmix, --mpi=pmi2, and the mpiexec of MPICH on one machine of an allocation.
  const step = { SLURM_STEP_NUM_TASKS: "8", SLURM_PROCID: "5" };
  expect(launchOf(step)).toMatchObject({ launcher: "srun", rank: 5, size: 8 });
  expect(launchOf(step)?.hint).toContain("add --mpi=pmix");
  expect(launchOf({ ...step, PMIX_RANK: "5" })).toMatchObject({ launcher: "srun", rank: 5, prefers: "openmpi" });
  expect(launchOf({ ...step, PMIX_RANK: "5" })?.hint).toBeUndefined();
  const pmi = { PMI_RANK: "5", PMI_SIZE: "8" };
  expect(launchOf({ ...step, ...pmi })).toMatchObject({ launcher: "srun", rank: 5, prefers: "mpich" });
  // How many run on the machine, by its number among those of the step.
  const tasks = { SLURM_STEP_TASKS_PER_NODE: "2(x3),1" };
  const onMachine = (environment: Readonly<Record<string, string>>) => launchOf(environment)?.onMachine;
  const onNodes = ["0", "2", "3", "4"].map((node) => onMachine({ ...step, ...tasks, SLURM_NODEID: node }));
  expect(onNodes).toEqual([2, 2, 1, undefined]);
  const endless = { SLURM_STEP_TASKS_PER_NODE: "1,2(x9999999999999)", SLURM_NODEID: "7" };
  expect(onMachine({ ...step, ...endless })).toBe(2);
  expect(onMachine(step)).toBeUndefined();
  expect(onMachine({ ...pmi, MPI_LOCALNRANKS: "4" })).toBe(4);
  const ofOpenMpi = { OMPI_COMM_WORLD_SIZE: "4", OMPI_COMM_WORLD_RANK: "3", OMPI_COMM_WORLD_LOCAL_SIZE: "2" };
  expect(onMachine(ofOpenMpi)).toBe(2);
  const proxy = { SLURM_STEP_NUM_TASKS: "1", SLURM_PROCID: "0", PMIX_RANK: "0" };
  expect(launchOf({ ...proxy, ...pmi, MPI_LOCALNRANKS: "8" })).toMatchObject({ vendor: "mpich", rank: 5, size: 8 });
  expect(() => launchOf({ PMI_SIZE: "2", PMI_RANK: "2" })).toThrow("are not a valid world size and rank");
});

describe("ranks of a machine, each with a device of its own", () => {
  const seen = (...devices: readonly string[]) => devices.map((d) => ({ id: d, name: d.replace(/\d+$/, "") }));
  const eight = seen(...Array.from({ length: 8 }, (_, i) => `H200-${i}`));
  const of = (shown: readonly (readonly Seen[])[], share = false) =>
    shown.map((_, rank) => deviceFor(shown.slice(0, rank + 1), { place: `rank ${rank},`, share }));
  const times = <T>(count: number, what: T) => Array.from({ length: count }, () => what);

  it("take what no other has, shown all or each its own", () => {
    expect(of(times(2, seen("a", "b")))).toEqual([0, 1]);
    expect(of([seen("a"), seen("b"), seen("c")])).toEqual([0, 0, 0]);
    expect(of([seen("b"), seen("a", "b")])).toEqual([0, 0]);
    expect(of(eight.map((device) => [device]))).toEqual(times(8, 0)); // as Slurm shows eight of one name
  });

  it("are told of eight of one name that all see how to be shown one each", () => {
    expect(of([eight])).toEqual([0]);
    expect(() => of(times(8, eight))).toThrow(
      'rank 1, should use GPU number 1 of those that it sees, but WebGPU cannot tell it from another "H200-": have the launcher show each rank its own',
    );
  });

  it("are not given one whose name is part of another's, which WebGPU would open", () => {
    expect(
      of([
        [
          { id: "0", name: "RTX 4090 D" },
          { id: "1", name: "RTX 4090" },
        ],
      ]),
    ).toEqual([0]);
    expect(() =>
      of(
        times(2, [
          { id: "0", name: "RTX 4090 D" },
          { id: "1", name: "RTX 4090" },
        ]),
      ),
    ).toThrow("cannot tell");
    expect(() =>
      of([
        [
          { id: "0", name: "RTX 4090" },
          { id: "1", name: "RTX 4090 D" },
        ],
      ]),
    ).toThrow("cannot tell");
    expect(
      of(
        times(2, [
          { id: "0", name: "A10" },
          { id: "1", name: "A100" },
        ]),
        true,
      ),
    ).toEqual([1, 1]);
  });

  it("are refused where there are too few", () => {
    expect(() => of(times(3, seen("a", "b")))).toThrow(
      "rank 2, finds no GPU that is not in use by another rank: there are 2 (a, b)",
    );
    expect(() => of([[], []])).toThrow("there are only software adapters");
    expect(() => of([...eight.map((device) => [device]), [eight[3]!]])).toThrow("rank 8, finds no GPU");
  });

  it("share evenly what WebGPU can open, where that is asked for", () => {
    expect(of(times(5, seen("a", "b")), true)).toEqual([0, 1, 0, 1, 0]);
    expect(of(times(4, eight), true)).toEqual([0, 0, 0, 0]); // the first alone is reached by its name
    expect(of([[], []], true)).toEqual([undefined, undefined]);
  });
});
