/**
 * Retrieval in both directions, for each language: recall at 1, 5 and 10. All captions of an image are correct for it,
 * and it for each of them, as in Flickr30K and COCO by Karpathy and Fei-Fei 2015, arXiv:1412.2306, section 4.2.
 */
import { basename } from "node:path";
import { selectOutputs, UsageError } from "../../../compiler/index.ts";
import {
  type Embeddings,
  imageDataUri,
  imageName,
  nearest,
  type RawSample,
  retrieval as recalls,
  selectedRows,
} from "../../../data/index.ts";
import type { Card, Section } from "../../../runtime/index.ts";
import { towersGraph } from "../run/comparing.ts";
import { type NamedModel, say, withWeights } from "../run/opened-model.ts";
import { albumOf, preprocessingFor } from "../run/pictures.ts";
import { textsOf } from "../run/retrieve.ts";
import { embedPictures, embedTexts, requireOutputs } from "../run/towers.ts";
import { mostCards } from "./asking.ts";
import type { EvaluateOptions, Outcome, Protocol, Results } from "./options.ts";
import { readSamples } from "./samples.ts";

export const retrieval: Protocol = {
  summary: "images by text and texts by image: recall at 1, 5 and 10, in each language of the captions",
  takes: ["language", "prefix", "images"],
  run: evaluateRetrieval,
};

const towers = ["image", "text"];

/** The images of a data set, each once, and its captions by language; those of one group match. */
interface Pairs {
  readonly pictures: readonly RawSample[];
  readonly captions: ReadonlyMap<string, readonly Caption[]>;
}

interface Caption {
  readonly text: string;
  readonly group: string;
}

async function evaluateRetrieval(named: NamedModel, options: EvaluateOptions): Promise<Outcome> {
  const graph = towersGraph(named);
  requireOutputs(graph, "retrieval", towers);
  const written = await textsOf(named, options);
  const { samples, skipped } = await readSamples("pairs", options);
  const { pictures, captions } = pairsOf(samples, options.language);
  const preprocessing = await preprocessingFor(named, graph, "retrieve", options);
  const results: Record<string, Results> = {};
  const answers: Answer[] = [];
  await withWeights(named, selectOutputs(graph, towers), options, async (model) => {
    const sources = pictures.map(({ image }) => image!);
    const vectors = await embedPictures(model, graph, sources, albumOf(preprocessing), options);
    for (const [language, own] of captions) {
      const groups = new Set(own.map(({ group }) => group));
      const rows = pictures.flatMap(({ group }, row) => (groups.has(group) ? [row] : []));
      const [images, matching] = [selectedRows(vectors, rows), rows.map((row) => pictures[row]!)];
      say(`${language}: ${rows.length} images, ${own.length} texts`);
      const queries = own.map(({ text }) => written.query(text));
      const texts = await embedTexts(model, graph, queries, written.tokenizer, options);
      const groupsOfImages = matching.map(({ group }) => group);
      results[language] = bothWays(texts, own, images, groupsOfImages);
      if (options.out !== undefined) answers.push(...answersOf(language, own, texts, matching, images));
    }
  });
  return {
    samples: pictures.length,
    results,
    skipped,
    answers: answers.map(({ language, text, found, right }) => ({
      ...{ language, text, right },
      found: found.map(({ picture, cosine }) => ({ name: imageName(picture.image!), cosine })),
    })),
    ...(options.out !== undefined && { sections: await foundCards(answers) }),
  };
}

/** The top results of a text. */
interface Answer {
  readonly language: string;
  readonly text: string;
  readonly group: string;
  readonly found: readonly { readonly picture: RawSample; readonly cosine: number }[];
  /** Names of the images that it captions. */
  readonly right: readonly string[];
}

/** Results listed per text. */
const mostFound = 5;

function answersOf(
  language: string,
  captions: readonly Caption[],
  texts: Embeddings,
  pictures: readonly RawSample[],
  images: Embeddings,
): readonly Answer[] {
  const ofGroup = Map.groupBy(pictures, ({ group }) => group);
  return captions.map(({ text, group }, row) => ({
    ...{ language, text, group },
    found: nearest(texts, row, images, mostFound).map(({ index, score }) => ({
      picture: pictures[index]!,
      cosine: score,
    })),
    right: ofGroup.get(group)!.map(({ image }) => imageName(image!)),
  }));
}

/** The first texts with their results, for the page. */
async function foundCards(answers: readonly Answer[]): Promise<readonly Section[]> {
  const shown = answers.slice(0, mostCards);
  const cards = shown.map(
    async ({ language, text, group, found }): Promise<Card> => ({
      title: { text, ...(language !== "und" && { language }) },
      pictures: await Promise.all(
        found.map(async ({ picture, cosine }) => ({
          image: await imageDataUri(picture.image!, 96),
          description: basename(imageName(picture.image!)),
          note: cosine.toFixed(3),
          mark: picture.group === group ? ("right" as const) : ("wrong" as const),
        })),
      ),
    }),
  );
  return [
    { kind: "heading", text: `Images found for the first ${cards.length} of ${answers.length} texts` },
    { kind: "cards", cards: await Promise.all(cards) },
  ];
}

/** Recall in both directions, and the mean of the six. */
function bothWays(texts: Embeddings, own: readonly Caption[], images: Embeddings, groups: readonly string[]): Results {
  const ofGroup = Map.groupBy(groups.keys(), (image) => groups[image]!);
  const { textToImage, imageToText } = recalls(texts, images, { positives: (text) => ofGroup.get(own[text]!.group)! });
  const all = [...Object.values(textToImage), ...Object.values(imageToText)];
  return { textToImage, imageToText, mean: { recall: all.reduce((a, b) => a + b, 0) / all.length } };
}

function pairsOf(samples: readonly RawSample[], language: string | undefined): Pairs {
  const pictures = new Map(samples.map((sample) => [imageName(sample.image!), sample]));
  const captions = new Map<string, Caption[]>();
  const firstOf = new Map(samples.toReversed().map((sample) => [sample.group, imageName(sample.image!)]));
  // Images that share a caption file have the same captions, which count once.
  for (const { texts, group } of samples.filter((sample) => firstOf.get(sample.group) === imageName(sample.image!)))
    for (const [spoken, own] of Object.entries(texts!))
      if (language === undefined || spoken === language)
        captions
          .set(spoken, captions.get(spoken) ?? [])
          .get(spoken)!
          .push(...own.map((text) => ({ text, group })));
  if (captions.size > 0) return { pictures: [...pictures.values()], captions };
  throw new UsageError(
    `no captions in "${language}"; available: ${[...new Set(samples.flatMap(({ texts }) => Object.keys(texts!)))].join(", ")}`,
  );
}
