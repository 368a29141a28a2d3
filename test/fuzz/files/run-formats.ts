/** The files that a run keeps, measurements of a device, and the pages and logs made of them. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { baselineFacts, compileKernels, parseGraph, tunableKernels } from "../../../compiler/index.ts";
import {
  loadNewestCheckpoint,
  openMetricsLog,
  readFindings,
  readRunSettings,
  readSources,
  saveCheckpoint,
  tensorToWrite,
  writeFindings,
  writeJobReport,
  writeRunReport,
  writeRunSettings,
  writeStart,
} from "../../../runtime/index.ts";
import { openEventLog } from "../../../runtime/tensorboard.ts";
import { openBestWeights } from "../../../runtime/training/best-weights.ts";
import { readFinished, writeFinished } from "../../../runtime/training/finished-stage.ts";
import { readEvents } from "../../support/event-files.ts";
import type { Format } from "./format.ts";

const ignored = () => {};
const weight = (value: number) =>
  tensorToWrite("w", { dtype: "f32", axes: [{ name: "a", size: 4 }], data: new Float32Array(4).fill(value) });
const metrics = [1, 2, 3].map((step) => `{"step":${step},"loss":1.5}\n`).join("");

/** Calls all readers, even after one throws. */
async function readEach(readers: readonly (() => Promise<unknown>)[]): Promise<void> {
  let first: unknown;
  for (const read of readers) await read().catch((error: unknown) => (first ??= error));
  if (first !== undefined) throw first;
}

/** A checkpoint that loads must be the one that was saved. */
async function requireCheckpoint(folder: string, step: number, value: number): Promise<void> {
  const loaded = await loadNewestCheckpoint(folder, ignored);
  if (!loaded) return;
  try {
    const { data } = await loaded.groups.model!.readTensor("w");
    if (loaded.step !== step || !data.every((one) => one === value)) throw new Error("a damaged checkpoint was loaded");
  } finally {
    await loaded.dispose();
  }
}

/** A metrics log resumed after a step has all steps up to it, or none. */
async function requireMetrics(path: string, last: number): Promise<void> {
  await (await openMetricsLog(path, { resumeAt: last })).dispose();
  const lines = readFileSync(path, "utf8").split("\n").slice(0, -1);
  const steps = lines.map((line) => (JSON.parse(line) as { step: number }).step);
  if (steps.length > 0 && steps.at(-1) !== last) throw new Error(`of ${last} steps ${steps} are left`);
}

const run: Format = {
  name: "run",
  write: async (folder) => {
    await saveCheckpoint(join(folder, "checkpoints"), { step: 3, state: { seed: 1 }, groups: { model: [weight(7)] } });
    await writeRunSettings(folder, "job", { steps: 3, rate: 0.1 });
    writeFileSync(join(folder, "sources.json"), JSON.stringify([{ path: "/x", fingerprint: "0123abcd" }]));
    writeFileSync(join(folder, "metrics.jsonl"), metrics);
    const saved = "checkpoints/step-000003";
    return ["run.json", "sources.json", "metrics.jsonl", `${saved}/state.json`, `${saved}/model.safetensors`];
  },
  read: (folder) =>
    readEach([
      () => readRunSettings(folder),
      () => readSources(folder),
      () => requireMetrics(join(folder, "metrics.jsonl"), 3),
      () => requireCheckpoint(join(folder, "checkpoints"), 3, 7),
    ]),
};

/** What a resumed run knows of the best weights is what was saved, or nothing. */
const best: Format = {
  name: "best",
  write: async (folder) => {
    const known = { metric: "loss", mode: "min", step: 2, value: 0.5 };
    mkdirSync(join(folder, "best"));
    await saveCheckpoint(join(folder, "best"), { step: 2, state: known, groups: { model: [weight(2)] } });
    const state = { cursor: 3, seed: 1, best: known };
    await saveCheckpoint(join(folder, "checkpoints"), { step: 3, state, groups: { model: [weight(3)] } });
    return ["checkpoints/step-000003/state.json", "best/step-000002/state.json", "best/step-000002/model.safetensors"];
  },
  read: async (folder) => {
    const loaded = await loadNewestCheckpoint(join(folder, "checkpoints"), ignored);
    const saved = (loaded?.state as { best?: never } | undefined)?.best;
    await loaded?.dispose();
    const { now } = await openBestWeights(folder, { metric: "loss", mode: "min" }, saved, ignored);
    if (now && (now.step !== 2 || now.value !== 0.5)) throw new Error("damaged figures are the best so far");
    await requireCheckpoint(join(folder, "best"), 2, 2);
  },
};

const stage: Format = {
  name: "stage",
  write: async (folder) => {
    const loss = { first: 2.5, last: 1.5 };
    const told = { lost: { data: 0.01, readBack: 0 }, best: { step: 2, value: 0.5 } };
    await writeFinished({ name: "s", folder, steps: 3, seconds: 1.5, losses: [], loss, told, result: { recall: 0.5 } });
    writeFileSync(join(folder, "metrics.jsonl"), metrics);
    return ["stage.json", "metrics.jsonl"];
  },
  read: async (folder) => {
    const { seconds, loss, losses, steps } = (await readFinished(folder, "s", 3))!;
    const numbers = [seconds, steps, loss.first ?? 0, loss.last ?? 0, ...losses.map((point) => point.step)];
    if (!numbers.every(Number.isFinite)) throw new Error(`its figures are ${JSON.stringify(numbers)}`);
    if (!losses.every((point) => typeof point.loss === "number")) throw new Error("its losses are no numbers");
  },
};

/** Whatever is on disk, what is kept of it is whole events, or what it was where it is damaged before its end. */
const events: Format = {
  name: "events",
  write: async (folder) => {
    const log = await openEventLog(folder, { now: () => 1e9 });
    for (let step = 1; step < 4; step++) await log.scalars(step, { "train/loss": 1 / step });
    await log.dispose();
    return ["events.out.tfevents.0001000000.heddle.0"];
  },
  read: async (folder) => {
    const path = join(folder, "events.out.tfevents.0001000000.heddle.0");
    const [before, notes] = [readFileSync(path), [] as string[]];
    const log = await openEventLog(folder, { resumeAt: 3, now: () => 2e9, note: (text) => notes.push(text) });
    await log.scalars(4, { "train/loss": 0.1 });
    await log.dispose();
    if (notes.length === 0) readEvents(path);
    else if (!readFileSync(path).equals(before)) throw new Error("a damaged file was changed");
    if (readEvents(log.path).length !== 3) throw new Error("what was written is not there");
  },
};

const graph = parseGraph(`graph @g(%x: f32[row=rows, inner=24], %w: f32[inner=24, column=20]) {
  %0 = contract %x, %w over [inner]
  return %0
}`);
const basis = { adapter: "one", driver: "1.2" };

/** Findings decide how a graph is compiled, never whether. */
const findings: Format = {
  name: "findings",
  write: async (folder) => {
    const sizes = { rows: 67 };
    const found = tunableKernels(graph, baselineFacts, sizes).map(({ mark, candidates }) => {
      const ways = candidates.slice(0, 3).map(({ schedule, settings }) => ({ schedule, settings, sizes }));
      return [mark, ways] as const;
    });
    await writeFindings(join(folder, "findings.json"), basis, new Map(found));
    return ["findings.json"];
  },
  read: async (folder) => {
    const { findings: found, ignored: why } = await readFindings(join(folder, "findings.json"), basis);
    if (why !== undefined && found.size > 0) throw new Error("findings that are ignored are there");
    if (found.size === 0) return;
    if (compileKernels(graph, baselineFacts, { findings: found }).kernels.length !== 1)
      throw new Error("the graph is compiled otherwise");
  },
};

const started = {
  at: "2026-01-02T03:04:05Z",
  command: ["heddle", "train", "job.ts"],
  versions: { node: "24.0.0", onnxruntime: null },
  device: "cpu",
  deviceReason: "asked for",
};

const about = {
  job: "job",
  summary: "a job",
  seed: 1,
  steps: 3,
  facts: [{ label: "parameters", value: "12", note: "all" }],
};

/** A page is made whatever the files hold, and it contains nothing executable. */
const report: Format = {
  name: "report",
  write: async (folder) => {
    await writeRunSettings(folder, "job", { steps: 3, rate: 0.1 });
    await writeStart(folder, about, started);
    await writeJobReport(folder, {
      lead: "what came of it",
      sections: [
        { kind: "headline", value: "71 %", text: "right" },
        { kind: "table", head: ["a", "b"], rows: [["x", { share: 0.5 }]] },
        { kind: "chart", title: "c", lines: [{ name: "l", points: [[0, 1], [1, 2]] }] }, // biome-ignore format: one line
        { kind: "cards", cards: [{ remarks: [{ text: { text: "قطة", language: "ar" }, mark: "right" }] }] },
      ],
      levels: { loss: [{ at: 1, label: "guessing" }] },
    });
    writeFileSync(join(folder, "metrics.jsonl"), metrics);
    const skipped = { "it is broken": { count: 2, example: "a.png" } };
    writeFileSync(join(folder, "summary.json"), JSON.stringify({ steps: 3, seconds: 1.5, skipped }));
    return ["about.json", "report.json", "metrics.jsonl", "summary.json", "run.json"];
  },
  read: async (folder) => {
    const page = readFileSync(await writeRunReport(folder), "utf8");
    const runs = /<script|<iframe|\son\w+=|javascript:/i.exec(page.replace(/>[^<]*</g, "><"));
    if (runs) throw new Error(`the page would run something: ${runs[0]}`);
    if (!page.trimEnd().endsWith("</html>")) throw new Error("the page is not whole");
  },
};

export const runFormats: readonly Format[] = [run, best, stage, events, findings, report];
