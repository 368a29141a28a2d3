/** Runs a two-tower model for the page: embeddings of images and texts, and attention over images. */
import { indexFeeds, inputName, makeGraph, UsageError } from "../../compiler/index.ts";
import type { Graph, HostTensor, Model, Preprocessing } from "../../dsl/index.ts";
import { idsTensor, pixelsTensor, type Shape } from "./batches.ts";
import type { Emoji, Picture } from "./emoji.ts";
import { wholePicture, writeView } from "./view.ts";

/** Batch size. */
const rows = 48;

/** Unit vectors, one per row. */
export interface Vectors {
  readonly width: number;
  readonly data: Float32Array;
}

export interface PictureVectors extends Vectors {
  /** Attention per patch, row by row, for each image; absent when the model has no such output. */
  readonly attention?: Vectors;
}

/** The axes of the inputs, in order. */
const inputAxes: Readonly<Record<string, readonly string[]>> = {
  pixels: ["batch", "channel", "row", "column"],
  ids: ["batch", "token"],
};

/**
 * Input sizes of a graph. Axes count by their order, since a file of another program does not name those of a fixed
 * size. Throws UsageError when the graph does not take images and texts, or their axes are in another order.
 */
export function shapeOf(graph: Graph, preprocessing?: Preprocessing): Shape {
  return { image: sizeOf(graph, "pixels", "row"), tokens: sizeOf(graph, "ids", "token"), preprocessing };
}

function sizeOf({ name: graph, inputs }: Graph, input: string, axis: string): number {
  const expected = inputAxes[input]!;
  const axes = inputs.find((node) => inputName(node) === input)?.type.axes ?? [];
  const isInOrder = axes.every(({ name }, i) => name === expected[i] || !expected.includes(name));
  const size = axes[expected.indexOf(axis)]?.size;
  if (axes.length === expected.length && isInOrder && typeof size === "number") return size;
  throw new UsageError(
    `${graph} has no input "${input}" with an axis "${axis}" of a known size\n  hint: images and names are fed as the inputs pixels f32 [batch, channel, row, column] and ids i32 [batch, token]`,
  );
}

/** A tensor with the names that a graph has for the axes of its input. */
function inAxesOf(graph: Graph, input: string, fed: HostTensor): Record<string, HostTensor> {
  const axes = graph.inputs.find((node) => inputName(node) === input)?.type.axes ?? fed.axes;
  return { [input]: { ...fed, axes: fed.axes.map(({ size }, i) => ({ name: axes[i]!.name, size })) } };
}

/**
 * Throws UsageError when a graph, whether a model's or a file's, has an embedding table with fewer rows than the
 * tokenizer has ids: a device would silently clamp larger ids to the last row.
 */
export function requireTokens(graph: Graph, { vocabulary }: Pick<Emoji, "vocabulary">): void {
  const tooSmall = indexFeeds(graph).find(
    ({ feed, size, chosen }) =>
      // Imported files may clamp the ids themselves: two ids then select the same row.
      inputName(feed) === "ids" &&
      (chosen(vocabulary - 1) >= Number(size) || chosen(vocabulary - 1) === chosen(vocabulary - 2)),
  );
  if (tooSmall)
    throw new UsageError(
      `${graph.name} has a vocabulary of ${tooSmall.size} tokens, but the names of the emoji need ${vocabulary}\n  hint: set its vocab to that number, or open a file that was saved here`,
    );
}

/** Runs a graph with the current weights. */
export type Runner = (graph: Graph, feeds: Readonly<Record<string, HostTensor>>) => Promise<Record<string, HostTensor>>;

/** Cached, since a graph is compiled on first use. */
const graphs = new WeakMap<Graph, { readonly image: Graph; readonly text: Graph }>();

/** Throws UsageError when a graph does not output vectors `image` and `text`. */
export function towerGraphs(whole: Graph) {
  const known = graphs.get(whole);
  if (known) return known;
  const made = { image: part(whole, ["image"], ["attention"]), text: part(whole, ["text"]) };
  graphs.set(whole, made);
  return made;
}

export class Towers {
  private readonly shape: Shape;
  private readonly emoji: Emoji;
  private readonly graphs: ReturnType<typeof towerGraphs>;
  private readonly run: Runner;

  /** For a model's own graph, or one with the same inputs. */
  constructor(graph: Graph, { preprocessing }: Pick<Model, "preprocessing">, emoji: Emoji, run: Runner) {
    this.shape = shapeOf(graph, preprocessing);
    this.emoji = emoji;
    this.graphs = towerGraphs(graph);
    this.run = run;
  }

  /** Embeds images. */
  async pictures(pictures: readonly Picture[]): Promise<PictureVectors> {
    const { image: size, preprocessing } = this.shape;
    const each = 3 * size * size;
    const vectors: Float32Array[] = [];
    const attention: Float32Array[] = [];
    for (let from = 0; from < pictures.length; from += rows) {
      const some = pictures.slice(from, from + rows);
      const pixels = new Float32Array(some.length * each);
      for (const [i, picture] of some.entries())
        writeView(pixels, i * each, picture, wholePicture, size, preprocessing);
      const { image } = this.graphs;
      const out = await this.run(image, inAxesOf(image, "pixels", pixelsTensor(pixels, some.length, size)));
      vectors.push(out.image!.data as Float32Array);
      if (out.attention) attention.push(out.attention.data as Float32Array);
    }
    const looked = attention.length > 0 ? { attention: joined(attention, pictures.length) } : {};
    return { ...joined(vectors, pictures.length), ...looked };
  }

  /** Embeds texts. */
  async texts(texts: readonly string[]): Promise<Vectors> {
    const vectors: Float32Array[] = [];
    for (let from = 0; from < texts.length; from += rows) {
      const some = texts.slice(from, from + rows);
      const ids = some.flatMap((text) => this.emoji.ids(text, this.shape.tokens));
      const out = await this.run(this.graphs.text, inAxesOf(this.graphs.text, "ids", idsTensor(ids, some.length)));
      vectors.push(out.text!.data as Float32Array);
    }
    return joined(vectors, texts.length);
  }
}

/** The subgraph of some outputs, required and optional. */
function part(graph: Graph, needed: readonly string[], wished: readonly string[] = []): Graph {
  const names = graph.outputs.map((o) => o.name);
  const missing = needed.find((name) => !names.includes(name));
  if (missing !== undefined)
    throw new UsageError(
      `${graph.name} has no output "${missing}", expected unit vectors [batch, feature] to compare; it has ${names.join(", ")}`,
    );
  return makeGraph(
    `${graph.name}-${needed[0]}`,
    graph.outputs.filter((o) => needed.includes(o.name) || wished.includes(o.name)),
  );
}

function joined(parts: readonly Float32Array[], count: number): Vectors {
  const data = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) {
    data.set(p, at);
    at += p.length;
  }
  return { width: data.length / count, data };
}

/** A row as a view. */
export const rowOf = ({ data, width }: Vectors, row: number): Float32Array =>
  data.subarray(row * width, (row + 1) * width);

/** The rows with the largest cosines to a vector, largest first. */
export function nearest(vector: Float32Array, among: Vectors, count: number): { row: number; cosine: number }[] {
  const rowsOf = among.data.length / among.width;
  const all = Array.from({ length: rowsOf }, (_, row) => ({ row, cosine: dot(vector, rowOf(among, row)) }));
  return all.sort((a, b) => b.cosine - a.cosine).slice(0, count);
}

const dot = (a: Float32Array, b: Float32Array): number => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
