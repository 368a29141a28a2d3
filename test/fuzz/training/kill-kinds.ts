/** The kinds of training runs that are killed. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { killData } from "./kill-data.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export interface KillKind {
  readonly summary: string;
  /** The folder's name of its first run. */
  readonly run: string;
  /** The arguments of `heddle train`, with data in a folder. */
  readonly args: (data: string) => readonly string[];
}

const sets = (settings: object): string[] => Object.entries(settings).flatMap(([k, v]) => ["--set", `${k}=${v}`]);

/** A stage of a model, saved every three steps and validated every two. */
const stage = (model: string, name: string, settings: object, data: readonly string[]): readonly string[] => [
  here(`../../cli/${model}.ts`),
  ...["--stage", name],
  ...sets({ checkpointEvery: 3, validateEvery: 2, rate: 1e-2, ...settings }),
  ...data,
];

export const killKinds = {
  job: {
    summary: "a job with a loss scale that is halved, micro-batches, dropout, averages and validation",
    run: "hard",
    args: () => [here("job.ts")],
  },
  stages: {
    summary: "three stages in a row: f16, low-rank updates by LAMB, SGD",
    run: "hard-stages",
    args: () => [here("staged-job.ts")],
  },
  pairs: {
    summary: "two stages of a model: a weighted mixture of shards and a folder, threads, cached features, averages",
    run: "tiny-1.1",
    args: (data) =>
      stage(
        "tiny-model",
        "1.1,1.2",
        { batch: 4, accumulate: 2, ema: 0.9, workers: 2, buffer: 8, best: "recall_at_1" },
        [
          ...["--data", `2*${data}/shards/{000..005}.tar`, "--data", join(data, "folder")],
          ...["--validate", join(data, "heldOut")],
        ],
      ),
  },
  matching: {
    summary: "matching and writing with mined negatives in f16, from shards with filters",
    run: "tiny-g-2",
    args: (data) =>
      stage("tiny-generative", "2", { batch: 6, negatives: "mined", precision: "f16", workers: 3, buffer: 5 }, [
        ...["--data", join(data, "shards"), "--filter", "caption.words>=3", "--set", "trainable=+,qllama.lm_head.*"],
        ...["--validate", join(data, "heldOut")],
      ]),
  },
  talks: {
    summary: "conversations in buckets of like length, a mixture of two lists",
    run: "tiny-chat-3.2",
    args: (data) =>
      stage("tiny-chat", "3.2", { batch: 3, length: 96, workers: 1, precision: "f16", ema: 0.8 }, talks(data)),
  },
  packed: {
    summary: "conversations packed into rows, micro-batches, low-rank updates",
    run: "tiny-chat-3.2",
    args: (data) =>
      stage("tiny-chat", "3.2", { batch: 8, packed: 2, accumulate: 2, length: 160, part: "lora" }, talks(data)),
  },
  texts: {
    summary: "texts packed into rows that begin within a text",
    run: "gpt-neox-texts",
    args: (data) =>
      stage("strangers/gpt-neox", "texts", { batch: 4, accumulate: 2, length: 40, buffer: 2 }, [
        ...["--data", join(data, "texts"), "--tokenizer", "bytes", "--validate", join(data, "texts", "1.txt")],
      ]),
  },
} satisfies Readonly<Record<string, KillKind>>;

const talks = (data: string): readonly string[] => [
  ...["--data", `3*${data}/talks.json`, "--data", join(data, "more-talks.jsonl")],
  ...["--validate", join(data, "talks.json")],
  ...sets({ images: join(data, "photos"), template: "bare" }),
];

export type KillKindName = keyof typeof killKinds;

/** The arguments of a kind's runs, whose data is made in a folder. */
export async function preparedKind(
  name: KillKindName,
  root: string,
): Promise<KillKind & { readonly given: readonly string[] }> {
  const data = join(root, "data");
  mkdirSync(data);
  await killData(data);
  const kind = killKinds[name];
  return { ...kind, given: kind.args(data) };
}
