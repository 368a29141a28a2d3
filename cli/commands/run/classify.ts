/** `heddle run ... classify`: pictures against classes that texts describe. */
import { type Graph, selectOutputs } from "../../../compiler/index.ts";
import { classLogits, classVectors, escapeControls, shares } from "../../../runtime/index.ts";
import { json } from "../../output.ts";
import { padded, prefixOf } from "./comparing.ts";
import { type LoadedModel, openModel, say, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { albumOf, lookingOf, requirePictures } from "./pictures.ts";
import { type Classes, classPrompts, readLabels, readTemplates } from "./prompts.ts";
import { openTokenizer } from "./tokenizing.ts";
import { embedPictures, embedTexts, requireOutputs } from "./towers.ts";
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
  /** The cosine with the class, scaled. */
  readonly logit: number;
}

/** One picture's best classes, best first. */
export interface Classified {
  readonly image: string;
  readonly guesses: readonly Guess[];
}

export async function classifyCommand(source: string, options: ClassifyOptions): Promise<number> {
  const named = await openModel(source, options);
  const { graph } = named;
  const mode = named.model?.modes?.compare ?? {};
  requireOutputs(graph, "classify", ["image", "text", "scale"]);
  requirePictures(options.image);
  const tokenizer = padded(await openTokenizer(graph, options), mode);
  const labels = await readLabels(options.labels, options.language);
  const classes = classPrompts(labels, await readTemplates(options.templates, options.language));
  const terms = graph.outputs.map((o) => o.name).filter((name) => name === "scale" || name === "bias");
  const needed = selectOutputs(graph, ["image", "text", ...terms]);
  const looking = await lookingOf(named, graph, "classify", options);
  const found = await withWeights(named, needed, options, async (model): Promise<Classified[]> => {
    say(`${classes.labels.length} classes, ${classes.prompts.length} prompts`);
    const prefix = prefixOf(mode, tokenizer, options.prefix);
    const texts = classes.prompts.map((prompt) => prefix + prompt);
    const vectors = classVectors(
      await embedTexts(model, graph, texts, tokenizer, options),
      classes.classOf,
      classes.labels.length,
    );
    const images = await embedPictures(model, graph, options.image, albumOf(looking), options);
    const { scale = 1, bias = 0 } = await termsOf(model, selectOutputs(needed, terms));
    return options.image.map((image, row) => {
      const vector = images.data.subarray(row * images.width, (row + 1) * images.width);
      const logits = classLogits(vector, vectors, scale, bias);
      return {
        image,
        guesses: best(logits, probabilities[mode.classes ?? "exclusive"](logits), classes, options.top),
      };
    });
  });
  process.stdout.write(options.json ? `${json(found)}\n` : found.map(lines).join(""));
  return 0;
}

/** What cosines are multiplied by, exp(logit_scale), and what is added, where the model has that. */
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

const best = (logits: Float64Array, of: Float64Array, { labels }: Classes, top: number): Guess[] =>
  Array.from(logits, (logit, i) => ({ label: labels[i]!, probability: of[i]!, logit }))
    .sort((a, b) => b.logit - a.logit)
    .slice(0, top);

const lines = ({ image, guesses }: Classified): string =>
  [
    escapeControls(image),
    ...guesses.map((g) => `  ${(100 * g.probability).toFixed(1).padStart(5)} %  ${printable(g.label)}`),
    "",
  ].join("\n");
