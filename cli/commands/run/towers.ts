/** Embeds images and texts in a joint space, with any model that has outputs "image" and "text". */
import { didYouMean, type Graph, selectOutputs, UsageError } from "../../../compiler/index.ts";
import type { Embeddings, ImageSource, Tokenizer } from "../../../data/index.ts";
import { embedRows, graphForRows, type Rows, startProgress } from "../../../runtime/index.ts";
import type { LoadedModel } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { type Album, pictureFeeds } from "./pictures.ts";
import { textFeeds, textLength } from "./tokenizing.ts";

/** Throws UsageError unless the model has every output that a mode needs. */
export function requireOutputs(graph: Graph, mode: string, names: readonly string[], hint?: string): void {
  const known = graph.outputs.map((o) => o.name);
  const missing = names.find((n) => !known.includes(n));
  if (missing === undefined) return;
  throw new UsageError(
    `${mode} needs a model with the outputs ${names.join(", ")}; "${graph.name}" has ${known.join(", ")}${didYouMean(missing, known)}${hint === undefined ? "" : `\n  hint: ${hint}`}`,
  );
}

/** An output for images, by default a unit vector of each. */
export async function embedPictures(
  model: LoadedModel,
  graph: Graph,
  pictures: readonly ImageSource[],
  album: Album,
  options: RunOptions,
  output = "image",
): Promise<Embeddings> {
  const batch = Math.min(options.batch, pictures.length);
  const rows = { count: pictures.length, batch, full: model.fixed, feeds: pictureFeeds(pictures, album) };
  return await embed(model, selectOutputs(graph, [output]), output, rows, {}, "images");
}

/** Unit vectors of texts, one row each. */
export async function embedTexts(
  model: LoadedModel,
  graph: Graph,
  texts: readonly string[],
  tokenizer: Tokenizer,
  options: RunOptions,
): Promise<Embeddings> {
  const tower = selectOutputs(graph, ["text"]);
  const { tokens, sizes } = textLength(tower);
  const batch = Math.min(options.batch, texts.length);
  const rows = { count: texts.length, batch, full: model.fixed, feeds: textFeeds(texts, tokenizer, tokens) };
  return await embed(model, tower, "text", rows, sizes, "texts");
}

async function embed(
  model: LoadedModel,
  graph: Graph,
  output: string,
  rows: Rows,
  sizes: Readonly<Record<string, number>>,
  unit: string,
): Promise<Embeddings> {
  const session = await model.session(graphForRows(graph, rows), sizes);
  const isLong = rows.count > rows.batch || model.streams;
  const progress = isLong ? startProgress({ description: "embedding", total: rows.count, unit }) : undefined;
  let embedded = 0;
  model.onParts((parts) => progress?.update(embedded, { parts }));
  try {
    return await embedRows(session, output, rows, (done) => {
      embedded = done;
      progress?.update(done);
    });
  } finally {
    progress?.dispose();
    session.dispose();
  }
}
