/** What training reads besides: lists of captions, filters, annotations, and what a run says of itself. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import sharp from "sharp";
import { FileError } from "../../../compiler/index.ts";
import { judge, readFilters } from "../../../data/filters/filter.ts";
import { decodeClasses } from "../../../data/images.ts";
import type { RawSample } from "../../../data/samples.ts";
import { openList, pairOfRecord } from "../../../data/sources/list-parts.ts";
import {
  loadNewestCheckpoint,
  saveCheckpoint,
  tensorToWrite,
  writeJobReport,
  writeRunReport,
  writeRunSettings,
  writeStart,
} from "../../../runtime/index.ts";
import { openBestWeights } from "../../../runtime/training/best-weights.ts";
import type { Format } from "./format.ts";

const ignored = () => {};

/** A list of captions, each of which is read; a broken one costs itself alone. */
const captions = (ending: string, write: (records: readonly object[]) => string): Format => ({
  name: `captions-${ending}`,
  write: async (folder) => {
    const records = ["a", "b", "c"].map((name) => ({ image: `photos/${name}.png`, caption: `a ${name}`, width: 3 }));
    writeFileSync(join(folder, `list.${ending}`), write(records));
    return [`list.${ending}`];
  },
  read: async (folder) => {
    const options = { images: folder, language: "und" };
    const list = await openList(join(folder, `list.${ending}`), pairOfRecord, options, ignored);
    for (let i = 0; i < list.count; i++) requireSound(folder, await list.read(i).catch(unlessOfTheFile));
  },
});

function unlessOfTheFile(error: unknown): undefined {
  if (!(error instanceof FileError)) throw error;
}

function requireSound(folder: string, sample: RawSample | undefined): void {
  if (!sample) return;
  const inside = typeof sample.image === "string" && sample.image.startsWith(`${resolve(folder)}/`);
  const texts = Object.values(sample.texts ?? {}).flat();
  if (!inside) throw new Error(`the picture ${String(sample.image)} is outside the folder`);
  if (texts.length === 0 || !texts.every((text) => text.trim() !== "" && text.isWellFormed()))
    throw new Error(`the captions ${JSON.stringify(texts)} are none`);
}

const sample: RawSample = {
  name: "x",
  group: "x",
  texts: { en: ["a cat on a mat"] },
  fields: { aesthetic: 5, clip: { b32: 0.3 } },
};

const asked = ["caption.words>=3", "score.clip.b32>0.2", "no=placeholder", "without=words.txt", "score.aesthetic<=9"];

const filters: Format = {
  name: "filters",
  write: async (folder) => {
    const inFolder = asked.map((text) => text.replace("words.txt", join(folder, "words.txt")));
    writeFileSync(join(folder, "filters.json"), JSON.stringify(inFolder, null, 1));
    writeFileSync(join(folder, "words.txt"), "badger\nmushroom soup\n");
    return ["filters.json", "words.txt"];
  },
  read: async (folder) => {
    const read = await readFilters([join(folder, "filters.json"), `without=${join(folder, "words.txt")}`]);
    const judgement = await judge(read, sample);
    if (!("kept" in judgement) && typeof judgement.dropped !== "string") throw new Error("it is neither kept nor not");
  },
};

const masks: Format = {
  name: "masks",
  write: async (folder) => {
    const classes = Buffer.from(Array.from({ length: 20 * 16 }, (_, i) => (i * 37) % 150));
    const png = sharp(classes, { raw: { width: 20, height: 16, channels: 1 } })
      .toColourspace("b-w")
      .png();
    writeFileSync(join(folder, "mask.png"), await png.toBuffer());
    return ["mask.png"];
  },
  read: async (folder) => {
    const { width, height, data } = await decodeClasses(join(folder, "mask.png"));
    if (data.length !== width * height) throw new Error(`${data.length} numbers of ${width} x ${height} pixels`);
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

/** A page is made whatever the files hold, and none of it runs. */
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
    writeFileSync(join(folder, "metrics.jsonl"), [1, 2, 3].map((step) => `{"step":${step},"loss":1.5}\n`).join(""));
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

const weight = (value: number) =>
  tensorToWrite("w", { dtype: "f32", axes: [{ name: "a", size: 4 }], data: new Float32Array(4).fill(value) });

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
    const kept = await loadNewestCheckpoint(join(folder, "best"), ignored);
    if (!kept) return;
    const { data } = await kept.groups.model!.readTensor("w");
    await kept.dispose();
    if (!data.every((value) => value === 2)) throw new Error("damaged weights are the best so far");
  },
};

export const trainingFormats: readonly Format[] = [
  captions("jsonl", (records) => records.map((record) => `${JSON.stringify(record)}\n`).join("")),
  captions("json", (records) => JSON.stringify(records, null, 1)),
  filters,
  masks,
  report,
  best,
];
