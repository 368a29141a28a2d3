/**
 * Zero-shot classification: an image's class is the one with the nearest text embedding, for each language. Radford et
 * al. 2021, arXiv:2103.00020, section 3.1; prompts are averaged as in CLIP-Benchmark.
 */
import { basename } from "node:path";
import { selectOutputs, UsageError } from "../../../compiler/index.ts";
import { type Embeddings, type TopClasses, topClasses } from "../../../data/index.ts";
import { classLogits } from "../../../runtime/index.ts";
import type { Reason } from "../data.ts";
import { embedClasses } from "../run/classify.ts";
import { tokenizerOf, towersGraph } from "../run/comparing.ts";
import { type LoadedModel, type NamedModel, say, withWeights } from "../run/opened-model.ts";
import { type Album, albumOf, preprocessingFor } from "../run/pictures.ts";
import { type ByLanguage, type Classes, classPrompts, readLabels, readTemplates } from "../run/prompts.ts";
import { openTokenizer } from "../run/tokenizing.ts";
import { embedPictures, requireOutputs } from "../run/towers.ts";
import { answerCards } from "./asking.ts";
import { classNumbers, type Labelled } from "./class-numbers.ts";
import type { EvaluateOptions, Outcome, Protocol } from "./options.ts";
import { readSamples } from "./samples.ts";

export const zeroShot: Protocol = {
  summary: "classification by text prompts: top-1, top-5 and mean per class, in each language of the labels",
  takes: ["labels", "templates", "language", "prefix", "images"],
  run: evaluateZeroShot,
};

interface Looked<S> {
  readonly samples: readonly S[];
  readonly skipped: readonly Reason[];
}

async function evaluateZeroShot(named: NamedModel, options: EvaluateOptions): Promise<Outcome> {
  const read = () => readSamples("labels", options);
  return await judgeClasses(named, options, read, async (samples, model, album) => {
    const pictures = samples.map(({ image }) => image!);
    return await embedPictures(model, towersGraph(named), pictures, album, options);
  });
}

const towers = ["image", "text"];

/** Classifies samples by text prompts, for each language; `embed` returns a unit vector of each sample. */
export async function judgeClasses<S extends Labelled>(
  named: NamedModel,
  options: EvaluateOptions,
  read: (album: Album) => Promise<Looked<S>>,
  embed: (samples: readonly S[], model: LoadedModel, album: Album) => Promise<Embeddings>,
): Promise<Outcome> {
  const graph = towersGraph(named);
  const mode = named.model?.modes?.compare ?? {};
  requireOutputs(graph, options.protocol, towers);
  const tokenizer = tokenizerOf(await openTokenizer(graph, options), mode);
  const given = options.labels === undefined ? undefined : await readLabels(options.labels, options.language);
  const templates = await readTemplates(options.templates, options.language);
  const album = albumOf(await preprocessingFor(named, graph, "classify", options));
  const { samples, skipped } = await read(album);
  const labels = given ?? folderNames(samples);
  const numbers = classNumbers(samples, labels);
  const { found, said } = await withWeights(named, selectOutputs(graph, towers), options, async (model) => {
    const vectors = await embed(samples, model, album);
    const classesOf = (prompts: Classes) => embedClasses(model, graph, prompts, mode, tokenizer, options);
    return await nearestClasses(vectors, numbers, labels, templates, classesOf);
  });
  const [language, names] = Object.entries(labels)[0]!;
  const right = numbers.map((number) => names[number]!);
  const first = said.map((byLanguage) => byLanguage[language || "all"]!);
  return {
    samples: samples.length,
    results: found,
    asked: { templates: Object.values(templates).flat().length },
    skipped,
    answers: samples.map(({ name }, row) => ({ name, said: said[row]!, right: right[row]! })),
    ...(options.out !== undefined && { sections: await classCards(samples, first, right) }),
  };
}

interface Judged {
  readonly found: Readonly<Record<string, TopClasses>>;
  /** The nearest class of each sample, by language. */
  readonly said: readonly Readonly<Record<string, string>>[];
}

/** Compares the vectors of samples with those of the classes in each language. `numbers` are the samples' classes. */
async function nearestClasses(
  { data, width }: Embeddings,
  numbers: readonly number[],
  labels: ByLanguage,
  templates: ByLanguage,
  embed: (classes: Classes) => Promise<Embeddings>,
): Promise<Judged> {
  const found: Record<string, TopClasses> = {};
  const said: Record<string, string>[] = numbers.map(() => ({}));
  for (const [language, names] of Object.entries(labels)) {
    const classes = classPrompts({ [language]: names }, templates);
    const name = language === "" ? "all" : language;
    say(`${name}: ${names.length} classes, ${classes.prompts.length} prompts`);
    const shared = names.find((one, i) => names.indexOf(one) < i);
    if (shared !== undefined) say(`${name}: several classes are named "${shared}": as they tie, each counts as wrong`);
    const vectors = await embed(classes);
    const count = topClasses(names.length);
    for (const [row, label] of numbers.entries()) {
      const scores = classLogits(data.subarray(row * width, (row + 1) * width), vectors, 1);
      count.add(scores, label);
      said[row]![name] = names[scores.indexOf(Math.max(...scores))]!;
    }
    found[name] = count.measures();
  }
  return { found, said };
}

/** For the report: each sample with its nearest class and its own. */
const classCards = (samples: readonly Labelled[], said: readonly string[], right: readonly string[]) =>
  answerCards(
    samples.map(({ name, image }, row) => ({
      question: { name, text: basename(name), answers: [right[row]!], ...(image !== undefined && { image }) },
      said: said[row]!,
    })),
    ({ said, question }) => said === question.answers[0],
  );

/** Class names default to folder names. */
function folderNames(samples: readonly Labelled[]): ByLanguage {
  const names = [...new Set(samples.flatMap(({ className }) => className ?? []))].sort();
  if (names.length > 0) return { "": names };
  throw new UsageError(
    "the data has class numbers but no class names: give the names with --labels, in the order of the numbers",
  );
}
