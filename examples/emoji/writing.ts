/** Batched greedy decoding of texts about images. */
import { type Graph, hostTensor } from "../../compiler/index.ts";
import { imageTensor, type Pixels, type Tokenizer } from "../../data/index.ts";
import { defineModel, type Params, trace } from "../../dsl/index.ts";
import type { Outputs } from "../../models/index.ts";
import { cachedSession, deviceModel, generate, startProgress, type TrainedRun } from "../../runtime/index.ts";

/** A text to generate: its prompt ids and its image. */
export interface Task {
  readonly pixels: Pixels;
  readonly ids: readonly number[];
}

export interface Writer {
  /** The prefill graph, with inputs `pixels` and `input_ids`. */
  readonly beginning: (p: Params) => Outputs;
  readonly step: (p: Params) => Outputs;
  readonly tokenizer: Tokenizer;
  /** Side of the images. */
  readonly image: number;
  /** Cached tokens before the ids. */
  readonly before: number;
  /** The maximum of ids and text together, and of the text alone. */
  readonly context: number;
  readonly longest: number;
}

const mostRows = 225;

/**
 * One text for each task, in order. Tasks with equally many ids run together; padding rows of the last run are dropped.
 */
export async function writeAll(run: TrainedRun, writer: Writer, tasks: readonly Task[]): Promise<string[]> {
  const { tokenizer, image } = writer;
  const [beginning, step] = [graphOf("beginning", writer.beginning), graphOf("step", writer.step)];
  const model = deviceModel(run.backend, { read: async (name) => run.weights.get(name)! });
  const progress = startProgress({ description: "writing", total: tasks.length, unit: "texts" });
  const texts: string[] = [];
  let done = 0;
  try {
    const asked = Math.max(...tasks.map(({ ids }) => ids.length));
    const capacity = writer.before + Math.min(writer.context, asked + writer.longest);
    const runs = runsOf(tasks);
    const most = Math.max(...runs.map((indices) => indices.length));
    const session = cachedSession(model, step, { rows: most, capacity, limit: capacity });
    for (const indices of runs) {
      const rows = Array.from({ length: most }, (_, i) => tasks[indices[Math.min(i, indices.length - 1)]!]!);
      const pixels = imageTensor(
        rows.map((t) => t.pixels),
        { size: image },
      );
      const length = rows[0]!.ids.length;
      const scores = await session.begin(beginning, { pixels, input_ids: idRows(rows) });
      const maxNewTokens = Math.min(writer.longest, writer.context - length);
      const written = await generate(
        session,
        { scores },
        { strategy: { kind: "greedy" }, maxNewTokens, eos: [tokenizer.eos] },
      );
      for (const [i, index] of indices.entries())
        texts[index] = tokenizer.decode(written[i]!.tokens.filter((id) => id !== tokenizer.eos)).trim();
      progress.update((done += indices.length));
    }
    return texts;
  } finally {
    progress.dispose();
    model.dispose();
  }
}

const graphOf = (name: string, build: (p: Params) => Outputs): Graph =>
  trace(defineModel({ name, summary: "", config: {}, build }));

/** The indices of tasks that run together. */
function runsOf(tasks: readonly Task[]): number[][] {
  const byLength = Map.groupBy(tasks.keys(), (i) => tasks[i]!.ids.length);
  return [...byLength.values()].flatMap((same) =>
    Array.from({ length: Math.ceil(same.length / mostRows) }, (_, i) => same.slice(i * mostRows, (i + 1) * mostRows)),
  );
}

const idRows = (tasks: readonly Task[]) =>
  hostTensor(
    "i32",
    [
      { name: "batch", size: tasks.length },
      { name: "token", size: tasks[0]!.ids.length },
    ],
    Int32Array.from(tasks.flatMap((t) => t.ids)),
  );
