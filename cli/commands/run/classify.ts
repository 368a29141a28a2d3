/** `heddle run ... classify`: classifies images, by texts or by the model's own classes. */
import { type Graph, selectOutputs, UsageError } from "../../../compiler/index.ts";
import type { Embeddings } from "../../../data/index.ts";
import type { CompareMode } from "../../../dsl/index.ts";
import { classLogits, classVectors, escapeControls, shares } from "../../../runtime/index.ts";
import { folderOf } from "../../checkpoint.ts";
import { classNamesIn, everyClassName } from "../../class-names.ts";
import { json } from "../../output.ts";
import { configJson } from "../../own-config.ts";
import { prefixOf, tokenizerOf, towersGraph } from "./comparing.ts";
import {
  graphOf,
  type LoadedModel,
  type NamedModel,
  openModel,
  say,
  storedWeights,
  withWeights,
} from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { albumOf, preprocessingFor, requirePictures } from "./pictures.ts";
import { type Classes, classPrompts, readLabels, readTemplates } from "./prompts.ts";
import { type OpenedTokenizer, openTokenizer } from "./tokenizing.ts";
import { embedPictures, embedTexts, requireOutputs } from "./towers.ts";
import { printable } from "./writing.ts";

export interface ClassifyOptions extends RunOptions {
  readonly image: readonly string[];
  readonly labels?: string;
  readonly templates?: string;
  readonly language?: string;
  readonly prefix?: string;
  readonly top: number;
}

export interface Guess {
  readonly label: string;
  readonly probability: number;
  /** The scaled cosine with the class. */
  readonly logit: number;
}

/** One image's best classes, best first. */
export interface Classified {
  readonly image: string;
  readonly guesses: readonly Guess[];
}

export async function classifyCommand(source: string, options: ClassifyOptions): Promise<number> {
  const named = await openModel(source, options);
  const found = await (named.model?.modes?.classify ? byScores(named, options) : byTexts(named, options));
  process.stdout.write(options.json ? `${json(found)}\n` : found.map(lines).join(""));
  return 0;
}

/** By an output with class logits. */
async function byScores(named: NamedModel, options: ClassifyOptions): Promise<Classified[]> {
  const { graph: served, output } = named.model!.modes!.classify!;
  const whole = graphOf(named, served);
  requireOutputs(whole, "classify", [output]);
  const graph = selectOutputs(whole, [output]);
  requirePictures(options.image);
  const album = albumOf(await preprocessingFor(named, graph, "classify", options));
  return await withWeights(named, graph, options, async (model) => {
    const scores = await embedPictures(model, graph, options.image, album, options, output);
    const labels = await labelsOf(options, scores.width);
    return options.image.map((image, row) => {
      const logits = Float64Array.from(scores.data.subarray(row * scores.width, (row + 1) * scores.width));
      return { image, guesses: best(logits, shares(logits), labels, options.top) };
    });
  });
}

/** The given names, else those of the config.json beside the weights, else numbers. */
export async function labelsOf(
  { labels, language, weights }: Pick<ClassifyOptions, "labels" | "language" | "weights">,
  count: number,
): Promise<readonly string[]> {
  if (labels !== undefined) {
    const [given] = Object.values(await readLabels(labels, language));
    if (given!.length === count) return given!;
    throw new UsageError(`got ${given!.length} labels, but the model has ${count} classes`);
  }
  const stored = storedWeights(weights);
  const json = stored === undefined ? undefined : await configJson(folderOf(stored));
  return everyClassName(count, classNamesIn(json));
}

/** By cosine with text embeddings. */
async function byTexts(named: NamedModel, options: ClassifyOptions): Promise<Classified[]> {
  const graph = towersGraph(named);
  const mode = named.model?.modes?.compare ?? {};
  requireOutputs(
    graph,
    "classify",
    ["image", "text", "scale"],
    "a classifier with its own classes declares modes: { classify: { output } } in its record",
  );
  requirePictures(options.image);
  const tokenizer = tokenizerOf(await openTokenizer(graph, options), mode);
  if (options.labels === undefined)
    throw new UsageError(`classify by texts needs class names: give --labels "cat,dog", or a JSON file`);
  const labels = await readLabels(options.labels, options.language);
  const classes = classPrompts(labels, await readTemplates(options.templates, options.language));
  const terms = graph.outputs.map((o) => o.name).filter((name) => name === "scale" || name === "bias");
  const needed = selectOutputs(graph, ["image", "text", ...terms]);
  const preprocessing = await preprocessingFor(named, graph, "classify", options);
  return await withWeights(named, needed, options, async (model): Promise<Classified[]> => {
    say(`${classes.labels.length} classes, ${classes.prompts.length} prompts`);
    const vectors = await embedClasses(model, graph, classes, mode, tokenizer, options);
    const images = await embedPictures(model, graph, options.image, albumOf(preprocessing), options);
    const { scale = 1, bias = 0 } = await termsOf(model, selectOutputs(needed, terms));
    return options.image.map((image, row) => {
      const vector = images.data.subarray(row * images.width, (row + 1) * images.width);
      const logits = classLogits(vector, vectors, scale, bias);
      return {
        image,
        guesses: best(logits, probabilities[mode.classes ?? "exclusive"](logits), classes.labels, options.top),
      };
    });
  });
}

/** A unit vector of each class, from its prompts. */
export async function embedClasses(
  model: LoadedModel,
  graph: Graph,
  { prompts, classOf, labels }: Classes,
  mode: CompareMode,
  tokenizer: OpenedTokenizer,
  options: RunOptions & Pick<ClassifyOptions, "prefix">,
): Promise<Embeddings> {
  const prefix = prefixOf(mode, tokenizer, options.prefix);
  const texts = prompts.map((prompt) => prefix + prompt);
  return classVectors(await embedTexts(model, graph, texts, tokenizer, options), classOf, labels.length);
}

/** The factor of cosines, exp(logit_scale), and the bias, if the model has them. */
async function termsOf(model: LoadedModel, graph: Graph): Promise<{ readonly scale?: number; readonly bias?: number }> {
  const session = await model.session(graph);
  const terms = await session.run({});
  session.dispose();
  return Object.fromEntries(Object.entries(terms).map(([name, { data }]) => [name, data[0]!]));
}

const probabilities = {
  exclusive: shares,
  independent: (logits: Float64Array) => logits.map((v) => 1 / (1 + Math.exp(-v))),
};

const best = (logits: Float64Array, of: Float64Array, labels: readonly string[], top: number): Guess[] =>
  Array.from(logits, (logit, i) => ({ label: labels[i]!, probability: of[i]!, logit }))
    .sort((a, b) => b.logit - a.logit)
    .slice(0, top);

const lines = ({ image, guesses }: Classified): string =>
  [
    escapeControls(image),
    ...guesses.map((g) => `  ${(100 * g.probability).toFixed(1).padStart(5)} %  ${printable(g.label)}`),
    "",
  ].join("\n");
