/** Recall on the held-out artist, text to image and image to text, per language. */

import type { Graph, HostTensor } from "../../compiler/index.ts";
import { selectOutputs } from "../../compiler/index.ts";
import {
  chanceRecall,
  type Embeddings,
  type ImageStore,
  imageTensor,
  type Recall,
  retrieval,
  tokenBatch,
} from "../../data/index.ts";
import { createSession, type InferenceSession, startProgress, type TrainedRun } from "../../runtime/index.ts";
import emojiModel from "../emoji-model.ts";
import type { ArtistId } from "./artists.ts";
import type { EmojiSet } from "./set.ts";
import type { Test } from "./training-data.ts";

export interface Evaluation {
  readonly candidates: number;
  readonly recall: Readonly<Record<string, { readonly textToImage: Recall; readonly imageToText: Recall }>>;
  readonly chance: Recall;
  readonly images: Embeddings;
  readonly texts: Readonly<Record<string, Embeddings>>;
}

/** The two towers: a graph with the output `image`, and one with the output `text`. */
export interface Sides {
  readonly image: Graph;
  readonly text: Graph;
}

const rowsPerRun = 128;

export async function evaluate(
  run: TrainedRun,
  sides: Sides,
  { data: { set, tokenizer, pictures }, heldOut }: Pick<Test, "data" | "heldOut">,
): Promise<Evaluation> {
  const { vision, text: names } = emojiModel.config;
  const total = set.emoji.length * (1 + set.languages.length);
  const progress = startProgress({ description: "testing", total, unit: "items" });
  let done = 0;
  const tick = (rows: number) => progress.update((done += rows));
  try {
    const images = await embed(
      run,
      selectOutputs(sides.image, ["image"]),
      "image",
      await heldOutRows(set, pictures(vision.image), heldOut),
      tick,
    );
    const text = selectOutputs(sides.text, ["text"]);
    const texts: Record<string, Embeddings> = {};
    for (const language of set.languages) {
      const all = set.emoji.map((e) => e.texts[language]![0]!);
      const feed = (from: number, to: number) => ({
        ids: tokenBatch(tokenizer, all.slice(from, to), names.context).ids,
      });
      texts[language] = await embed(run, text, "text", { count: all.length, feed }, tick);
    }
    const recall = Object.fromEntries(set.languages.map((l) => [l, retrieval(texts[l]!, images)]));
    return { candidates: set.emoji.length, recall, chance: chanceRecall(set.emoji.length), images, texts };
  } finally {
    progress.dispose();
  }
}

interface Rows {
  readonly count: number;
  readonly feed: (from: number, to: number) => Readonly<Record<string, HostTensor>>;
}

async function heldOutRows(set: EmojiSet, store: ImageStore, heldOut: ArtistId): Promise<Rows> {
  const pixels = await Promise.all(set.emoji.map((e) => store.read(e.images[heldOut])));
  return {
    count: pixels.length,
    feed: (from, to) => ({ pixels: imageTensor(pixels.slice(from, to), { size: store.geometry.size }) }),
  };
}

/** Runs all rows through one tower; the last run may have fewer rows, and is compiled for them. */
async function embed(
  run: TrainedRun,
  graph: Graph,
  output: string,
  rows: Rows,
  tick: (rows: number) => void,
): Promise<Embeddings> {
  const sessions = new Map<number, InferenceSession>();
  const parts: Float32Array[] = [];
  try {
    for (let from = 0; from < rows.count; from += rowsPerRun) {
      const to = Math.min(rows.count, from + rowsPerRun);
      let session = sessions.get(to - from);
      if (!session) {
        session = await createSession(run.backend, graph, run.weights, { sizes: { batch: to - from } });
        sessions.set(to - from, session);
      }
      parts.push((await session.run(rows.feed(from, to)))[output]!.data as Float32Array);
      tick(to - from);
    }
  } finally {
    for (const session of sessions.values()) session.dispose();
  }
  const data = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return { data, width: data.length / rows.count };
}
