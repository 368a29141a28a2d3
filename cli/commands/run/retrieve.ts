/** `heddle run ... retrieve`: embeds a folder's images and captions, and searches them in both directions. */
import { readdir, readFile } from "node:fs/promises";
import { join, parse, relative } from "node:path";
import { FileError, type Graph, selectOutputs, UsageError } from "../../../compiler/index.ts";
import { type ImageStore, mapLimited, nearest, type Skipped } from "../../../data/index.ts";
import { requireWritable } from "../../../runtime/index.ts";
import { digits, json } from "../../output.ts";
import { asQuery, tokenizerOf, towersGraph } from "./comparing.ts";
import { type LoadedModel, type NamedModel, openModel, say, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { type Album, albumOf, isPicture, preprocessingFor, requirePictures } from "./pictures.ts";
import { type Indexed, type Kind, readIndex, searched, writeIndex } from "./retrieval-index.ts";
import { openTokenizer } from "./tokenizing.ts";
import { embedPictures, embedTexts, requireOutputs } from "./towers.ts";
import { printable } from "./writing.ts";

export interface IndexOptions extends RunOptions {
  readonly out: string;
  readonly prefix?: string;
}

export interface SearchOptions extends RunOptions {
  readonly index: string;
  readonly text?: string;
  readonly image?: string;
  /** What to search; default images for a text and texts for an image. */
  readonly among?: Kind;
  readonly top: number;
  readonly prefix?: string;
}

/** Search results, best first. */
export interface SearchResult {
  readonly query: string;
  readonly among: Kind;
  readonly found: readonly { readonly name: string; readonly cosine: number }[];
}

const towers = ["image", "text"];

export async function indexCommand(source: string, folder: string, options: IndexOptions): Promise<number> {
  const named = await openModel(source, options);
  const { name } = named;
  const graph = towersGraph(named);
  requireOutputs(graph, "retrieve", towers);
  await requireWritable(options.out);
  const content = await readFolder(folder);
  const album = albumOf(await preprocessingFor(named, graph, "retrieve", options));
  const pictures = await readable(folder, content.pictures, album.store);
  const written = content.captions.length > 0 ? await textsOf(named, options) : undefined;
  const needed = selectOutputs(graph, written ? towers : ["image"]);
  const index = await withWeights(named, needed, options, async (model) => ({
    model: name,
    images: await indexPictures(model, graph, folder, pictures, album, options),
    texts: written ? await indexTexts(model, graph, content.captions, written, options) : nothing,
  }));
  await writeIndex(options.out, index);
  const counts = { pictures: index.images.names.length, texts: index.texts.names.length };
  if (options.json) process.stdout.write(`${json({ index: options.out, ...counts })}\n`);
  else say(`${options.out}: ${digits(counts.pictures)} images, ${digits(counts.texts)} texts`);
  return 0;
}

/** Tokenizer and text preparation, by the model's record and the command's options. */
export type Texts = Awaited<ReturnType<typeof textsOf>>;

export async function textsOf(named: NamedModel, options: RunOptions & { readonly prefix?: string }) {
  const mode = named.model?.modes?.compare ?? {};
  const tokenizer = tokenizerOf(await openTokenizer(towersGraph(named), options), mode);
  return { tokenizer, query: asQuery(mode, tokenizer, options.prefix) };
}

const nothing: Indexed = { names: [], vectors: { data: new Float32Array(), width: 0 } };

async function indexPictures(
  model: LoadedModel,
  graph: Graph,
  folder: string,
  names: readonly string[],
  album: Album,
  options: IndexOptions,
): Promise<Indexed> {
  const paths = names.map((name) => join(folder, name));
  return { names, vectors: await embedPictures(model, graph, paths, album, options) };
}

async function indexTexts(
  model: LoadedModel,
  graph: Graph,
  captions: readonly string[],
  { tokenizer, query }: Texts,
  options: IndexOptions,
): Promise<Indexed> {
  const texts = captions.map(query);
  return { names: captions, vectors: await embedTexts(model, graph, texts, tokenizer, options) };
}

export async function searchCommand(source: string, options: SearchOptions): Promise<number> {
  const { text, image } = options;
  if ((text === undefined) === (image === undefined))
    throw new UsageError('retrieve search takes one query: --text "a red fox" or --image fox.jpg');
  if (image !== undefined) requirePictures([image]);
  const among = options.among ?? (image === undefined ? "images" : "texts");
  const named = await openModel(source, options);
  const { name } = named;
  const graph = towersGraph(named);
  requireOutputs(graph, "retrieve", towers);
  const { names, vectors } = searched(options.index, await readIndex(options.index), among, name);
  const written = text === undefined ? undefined : await textsOf(named, options);
  const album = written ? undefined : albumOf(await preprocessingFor(named, graph, "retrieve", options));
  const needed = selectOutputs(graph, [written ? "text" : "image"]);
  const query = await withWeights(named, needed, options, (model) =>
    written
      ? embedTexts(model, graph, [written.query(text!)], written.tokenizer, options)
      : embedPictures(model, graph, [image!], album!, options),
  );
  const result: SearchResult = {
    query: text ?? image!,
    among,
    found: nearest(query, 0, vectors, options.top).map((n) => ({ name: names[n.index]!, cosine: n.score })),
  };
  process.stdout.write(options.json ? `${json(result)}\n` : result.found.map(line).join(""));
  return 0;
}

const line = ({ name, cosine }: SearchResult["found"][number]): string => `${cosine.toFixed(4)}  ${printable(name)}\n`;

interface FolderContent {
  readonly pictures: readonly string[];
  /** Every distinct line of the .txt files beside the images. */
  readonly captions: readonly string[];
}

/** The images of a folder and its subfolders, by name, and their captions. Throws FileError if there are none. */
async function readFolder(folder: string): Promise<FolderContent> {
  const names = await listFiles(folder);
  const pictures = names.filter(isPicture);
  if (pictures.length === 0) throw new FileError(`"${folder}" has no images (png, jpg, webp, svg)`);
  const there = new Set(names);
  const texts = [...new Set(pictures.map(captionFile))].filter((name) => there.has(name));
  const lines = await mapLimited(texts, 16, async (name) => captionsOf(name, await readFile(join(folder, name))));
  return { pictures, captions: [...new Set(lines.flat())] };
}

async function listFiles(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((e) => e.isFile()).map((e) => join(e.parentPath, e.name));
    return files.map((path) => relative(folder, path)).sort();
  } catch (cause) {
    throw new FileError(`the folder "${folder}" cannot be read: ${(cause as Error).message}`, { cause });
  }
}

const captionFile = (picture: string): string => join(parse(picture).dir, `${parse(picture).name}.txt`);

function captionsOf(name: string, bytes: Uint8Array): string[] {
  try {
    const lines = new TextDecoder("utf-8", { fatal: true }).decode(bytes).split(/\r?\n/);
    return lines.map((line) => line.trim()).filter((line) => line !== "");
  } catch {
    say(`skipped: the captions "${name}" are not valid UTF-8`);
    return [];
  }
}

/** The images that can be decoded; others are reported and skipped. Throws FileError if all are broken. */
async function readable(folder: string, names: readonly string[], images: ImageStore): Promise<readonly string[]> {
  const onSkip = ({ reason }: Skipped) => say(`skipped: ${reason}`);
  const paths = names.map((name) => join(folder, name));
  const good = await images.preload(paths, { onSkip });
  if (good.size > 0) return names.filter((_, i) => good.has(paths[i]!));
  throw new FileError(`none of the ${names.length} images in "${folder}" can be read`);
}
