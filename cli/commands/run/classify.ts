/** `heddle run ... classify`: pictures against classes that texts describe. */
import { type Graph, selectOutputs } from "../../../compiler/index.ts";
import { imageStore } from "../../../data/index.ts";
import { classProbabilities, classVectors, escapeControls } from "../../../runtime/index.ts";
import { json } from "../../output.ts";
import { prefixOf } from "./contrastive-texts.ts";
import { type LoadedModel, openModel, say, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { requirePictures } from "./pictures.ts";
import { type Classes, classPrompts, readLabels, readTemplates } from "./prompts.ts";
import { openTokenizer } from "./tokenizing.ts";
import { embedPictures, embedTexts, geometryOf, requireOutputs } from "./towers.ts";
import { printable } from "./writing.ts";

export interface ClassifyOptions extends RunOptions {
  readonly image: readonly string[];
  readonly labels: string;
  readonly templates?: string;
  readonly language?: string;
  readonly prefix?: string;
  readonly top: number;
}

export interface Guess {
  readonly label: string;
  readonly probability: number;
}

/** One picture's best classes, best first. */
export interface Classified {
  readonly image: string;
  readonly guesses: readonly Guess[];
}

export async function classifyCommand(source: string, options: ClassifyOptions): Promise<number> {
  const { graph } = await openModel(source, options);
  requireOutputs(graph, "classify", ["image", "text", "scale"]);
  requirePictures(options.image);
  const tokenizer = await openTokenizer(graph, options);
  const labels = await readLabels(options.labels, options.language);
  const classes = classPrompts(labels, await readTemplates(options.templates, options.language));
  const needed = selectOutputs(graph, ["image", "text", "scale"]);
  const found = await withWeights(needed, options, async (model): Promise<Classified[]> => {
    say(`${classes.labels.length} classes, ${classes.prompts.length} prompts`);
    const prefix = prefixOf(tokenizer, options.prefix);
    const texts = classes.prompts.map((prompt) => prefix + prompt);
    const vectors = classVectors(
      await embedTexts(model, graph, texts, tokenizer, options),
      classes.classOf,
      classes.labels.length,
    );
    const store = imageStore(geometryOf(graph, "crop", options));
    const images = await embedPictures(model, graph, options.image, store, options);
    const scale = await scaleOf(model, needed);
    return options.image.map((image, row) => {
      const vector = images.data.subarray(row * images.width, (row + 1) * images.width);
      return { image, guesses: best(classProbabilities(vector, vectors, scale), classes, options.top) };
    });
  });
  process.stdout.write(options.json ? `${json(found)}\n` : found.map(lines).join(""));
  return 0;
}

/** exp(logit_scale), what cosines are multiplied by. */
async function scaleOf(model: LoadedModel, graph: Graph): Promise<number> {
  const session = await model.session(selectOutputs(graph, ["scale"]));
  const { scale } = await session.run({});
  session.dispose();
  return scale!.data[0]!;
}

const best = (probabilities: Float64Array, { labels }: Classes, top: number): Guess[] =>
  Array.from(probabilities, (probability, i) => ({ label: labels[i]!, probability }))
    .sort((a, b) => b.probability - a.probability)
    .slice(0, top);

const lines = ({ image, guesses }: Classified): string =>
  [
    escapeControls(image),
    ...guesses.map((g) => `  ${(100 * g.probability).toFixed(1).padStart(5)} %  ${printable(g.label)}`),
    "",
  ].join("\n");
