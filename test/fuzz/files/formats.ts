/** Every format that is read from a user's disk: a sound example of it, and the way it is read. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { pack } from "tar-stream";
import { modelOfFolder } from "../../../cli/checkpoint.ts";
import { makeGraph, ops, parseGraph, printGraph } from "../../../compiler/index.ts";
import {
  decodeImage,
  learnedTokenizerConfig,
  learnTokenizer,
  readInstructions,
  readShard,
  readTokenizer,
} from "../../../data/index.ts";
import { configure } from "../../../dsl/index.ts";
import { internvlG, writePublishedConfig } from "../../../models/index.ts";
import {
  loadNewestCheckpoint,
  openMetricsLog,
  openSafetensors,
  readRunSettings,
  readSources,
  saveCheckpoint,
  tensorToWrite,
  writeModel,
  writeRunSettings,
} from "../../../runtime/index.ts";
import type { Format } from "./format.ts";
import { trainingFormats } from "./training-formats.ts";

const weight = (fill: number) =>
  tensorToWrite(`layer.${fill}`, {
    dtype: "f32",
    axes: [
      { name: "a", size: 3 },
      { name: "b", size: 5 },
    ],
    data: new Float32Array(15).fill(fill),
  });

async function readAll(path: string): Promise<void> {
  await using reader = await openSafetensors(path);
  for (const name of reader.tensors.keys()) await reader.readTensor(name);
}

const onSkip = () => {};

async function drained(values: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of values);
}

const image = (format: "png" | "jpeg" | "webp"): Format => ({
  name: format,
  write: async (folder) => {
    const pixels = Buffer.from(Array.from({ length: 20 * 16 * 3 }, (_, i) => (i * 37) % 256));
    const raw = sharp(pixels, { raw: { width: 20, height: 16, channels: 3 } });
    writeFileSync(join(folder, "picture"), await raw[format]().toBuffer());
    return ["picture"];
  },
  read: async (folder) => {
    const bytes = readFileSync(join(folder, "picture"));
    await decodeImage({ name: "picture", bytes }, { size: 8, fit: "squash" });
  },
});

export const formats: readonly Format[] = [
  {
    name: "safetensors",
    write: async (folder) => {
      await writeModel(folder, [weight(1), weight(2)]);
      return ["model.safetensors"];
    },
    read: (folder) => readAll(join(folder, "model.safetensors")),
  },
  {
    name: "shard-index",
    write: async (folder) => {
      await writeModel(folder, [weight(1), weight(2), weight(3)], { maxShardBytes: 100 });
      return ["model.safetensors.index.json"];
    },
    read: readAll,
  },
  {
    name: "config",
    write: async (folder) => {
      writeFileSync(join(folder, "config.json"), JSON.stringify(writePublishedConfig(internvlG.config), null, 1));
      return ["config.json"];
    },
    read: async (folder) => void configure(await modelOfFolder(folder), {}),
  },
  {
    name: "graph",
    write: async (folder) => {
      const a = { name: "a", size: 4 };
      const x = ops.input("x", "f32", [a, { name: "b", size: 3 }]);
      const w = ops.parameter("w", "f32", [a], { kind: "constant", value: 1 });
      const y = ops.contract(ops.exp(x), w, ["a"]);
      writeFileSync(join(folder, "x.graph"), printGraph(makeGraph("g", [{ name: "y", node: ops.sqrt(y) }])));
      return ["x.graph"];
    },
    read: async (folder) => void parseGraph(readFileSync(join(folder, "x.graph"), "utf8"), "x.graph"),
  },
  {
    name: "tar",
    write: async (folder) => {
      const png = await sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } })
        .png()
        .toBuffer();
      const tar = pack();
      for (const key of ["a", "b", "c"]) {
        tar.entry({ name: `${key}.png` }, png);
        tar.entry({ name: `${key}.txt` }, `a ${key}`);
      }
      tar.finalize();
      writeFileSync(join(folder, "0.tar"), Buffer.concat(await Array.fromAsync(tar as AsyncIterable<Buffer>)));
      return ["0.tar"];
    },
    read: (folder) => drained(readShard(join(folder, "0.tar"), { onSkip })),
  },
  {
    name: "instructions",
    write: async (folder) => {
      const turns = [
        { from: "human", value: "<image>\nWhat is it?" },
        { from: "gpt", value: "A cat." },
      ];
      const entries = [1, 2, 3].map((id) => ({ id, image: `${id}.png`, conversations: turns }));
      writeFileSync(join(folder, "data.json"), JSON.stringify(entries, null, 1));
      return ["data.json"];
    },
    read: (folder) => drained(readInstructions(join(folder, "data.json"), folder, { onSkip })),
  },
  image("png"),
  image("jpeg"),
  image("webp"),
  {
    name: "tokenizer",
    write: async (folder) => {
      const learned = learnTokenizer(["a cat sat", "the cat", "a mat"], 270) as object;
      const normalizer = { type: "Replace", pattern: { Regex: "\\s+" }, content: " " };
      writeFileSync(join(folder, "tokenizer.json"), JSON.stringify({ ...learned, normalizer }));
      writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(learnedTokenizerConfig));
      return ["tokenizer.json", "tokenizer_config.json"];
    },
    read: async (folder) => {
      const tokenizer = await readTokenizer(join(folder, "tokenizer.json"));
      const ids = tokenizer.encode("a cat  sat 猫", 40);
      if (!ids.every((id) => Number.isInteger(id) && id >= 0 && id < tokenizer.vocabularySize))
        throw new Error(`ids out of the vocabulary: ${ids}`);
      tokenizer.decode(ids);
    },
  },
  {
    name: "run",
    write: async (folder) => {
      await saveCheckpoint(join(folder, "checkpoints"), {
        step: 3,
        state: { seed: 1 },
        groups: { model: [weight(7)] },
      });
      await writeRunSettings(folder, "job", { steps: 3, rate: 0.1 });
      writeFileSync(join(folder, "sources.json"), JSON.stringify([{ path: "/x", fingerprint: "0123abcd" }]));
      writeFileSync(join(folder, "metrics.jsonl"), [1, 2, 3].map((step) => `{"step":${step},"loss":1.5}\n`).join(""));
      const saved = "checkpoints/step-000003";
      return ["run.json", "sources.json", "metrics.jsonl", `${saved}/state.json`, `${saved}/model.safetensors`];
    },
    read: async (folder) => {
      const readers = [
        () => readRunSettings(folder),
        () => readSources(folder),
        () => openMetricsLog(join(folder, "metrics.jsonl"), { resumeAt: 3 }).then((log) => log.dispose()),
        () => unchangedCheckpoint(join(folder, "checkpoints")),
      ];
      let first: unknown;
      for (const read of readers) await read().catch((error: unknown) => (first ??= error));
      if (first !== undefined) throw first;
    },
  },
  ...trainingFormats,
];

/** A checkpoint that loads is the one that was saved. */
async function unchangedCheckpoint(folder: string): Promise<void> {
  const loaded = await loadNewestCheckpoint(folder, onSkip);
  if (!loaded) return;
  try {
    const { data } = await loaded.groups.model!.readTensor("layer.7");
    if (loaded.step !== 3 || !data.every((value) => value === 7)) throw new Error("a damaged checkpoint was loaded");
  } finally {
    await loaded.dispose();
  }
}
