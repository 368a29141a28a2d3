/**
 * Zero-shot classification: a picture's class is the one whose texts are nearest, in each language by itself. Radford et al.
 * 2021, arXiv:2103.00020, section 3.1; prompts are averaged as CLIP-Benchmark does it.
 */
import { selectOutputs, UsageError } from "../../../compiler/index.ts";
import { type RawSample, type TopClasses, topClasses } from "../../../data/index.ts";
import { classLogits } from "../../../runtime/index.ts";
import { embedClasses } from "../run/classify.ts";
import { tokenizerOf } from "../run/comparing.ts";
import { type NamedModel, say, withWeights } from "../run/opened-model.ts";
import { albumOf, lookingOf } from "../run/pictures.ts";
import { type ByLanguage, classPrompts, readLabels, readTemplates } from "../run/prompts.ts";
import { openTokenizer } from "../run/tokenizing.ts";
import { embedPictures, requireOutputs } from "../run/towers.ts";
import { classNumbers } from "./class-numbers.ts";
import type { EvaluateOptions, Outcome, Protocol } from "./options.ts";
import { readSamples } from "./samples.ts";

export const zeroShot: Protocol = {
  summary: "classes by texts: top-1, top-5 and mean per class, in each language of the labels",
  takes: ["labels", "templates", "language", "prefix", "images"],
  run: evaluateZeroShot,
};

const towers = ["image", "text"];

async function evaluateZeroShot(named: NamedModel, options: EvaluateOptions): Promise<Outcome> {
  const { graph } = named;
  const mode = named.model?.modes?.compare ?? {};
  requireOutputs(graph, "zero-shot", towers);
  const tokenizer = tokenizerOf(await openTokenizer(graph, options), mode);
  const given = options.labels === undefined ? undefined : await readLabels(options.labels, options.language);
  const templates = await readTemplates(options.templates, options.language);
  const { samples, skipped } = await readSamples("labels", options);
  const labels = given ?? folderNames(samples);
  const numbers = classNumbers(samples, labels);
  const looking = await lookingOf(named, graph, "classify", options);
  const results = await withWeights(named, selectOutputs(graph, towers), options, async (model) => {
    const pictures = samples.map(({ image }) => image!);
    const { data, width } = await embedPictures(model, graph, pictures, albumOf(looking), options);
    const found: Record<string, TopClasses> = {};
    for (const [language, names] of Object.entries(labels)) {
      const classes = classPrompts({ [language]: names }, templates);
      const name = language === "" ? "all" : language;
      say(`${name}: ${names.length} classes, ${classes.prompts.length} prompts`);
      const vectors = await embedClasses(model, graph, classes, mode, tokenizer, options);
      const count = topClasses(names.length);
      for (const [row, label] of numbers.entries())
        count.add(classLogits(data.subarray(row * width, (row + 1) * width), vectors, 1), label);
      found[name] = count.measures();
    }
    return found;
  });
  const texts = Object.values(templates).flat().length;
  return { samples: samples.length, results, asked: { templates: texts }, skipped };
}

/** Folders' names are their classes' where no others are given. */
function folderNames(samples: readonly RawSample[]): ByLanguage {
  const names = [...new Set(samples.flatMap(({ className }) => className ?? []))].sort();
  if (names.length > 0) return { "": names };
  throw new UsageError(
    "the data has numbers of classes and no names: give these with --labels, in the order of numbers",
  );
}
