/** Class names and prompt templates, from a file or the command line, in one language or several. */
import { existsSync } from "node:fs";
import { extname } from "node:path";
import { didYouMean, FileError, UsageError } from "../../../compiler/index.ts";
import { readJson } from "../../../data/index.ts";

/** Texts by language; "" if the source names none. */
export type ByLanguage = Readonly<Record<string, readonly string[]>>;

export interface Classes {
  /** The class names in results: those of the first language. */
  readonly labels: readonly string[];
  /** Every name in every template of its language. */
  readonly prompts: readonly string[];
  /** The class of each prompt. */
  readonly classOf: readonly number[];
}

/** The placeholder of a class name in a template, as in CLIP-Benchmark. */
const place = "{c}";

/** Class names: a JSON file, or names separated by commas. */
export const readLabels = async (source: string, language?: string): Promise<ByLanguage> =>
  inLanguage(isFile(source) ? await readTexts(source, "labels") : { "": items(source, ",") }, language, "labels");

/** Templates: a JSON file, or texts separated by |; default the bare name. */
export async function readTemplates(source: string | undefined, language?: string): Promise<ByLanguage> {
  if (source === undefined) return { "": [place] };
  const templates = isFile(source) ? await readTexts(source, "templates") : { "": items(source, "|") };
  const wrong = Object.values(templates)
    .flat()
    .find((t) => !t.includes(place));
  if (wrong !== undefined)
    throw new UsageError(`the template "${wrong}" has no ${place} for the class name, as in "a photo of a ${place}."`);
  return inLanguage(templates, language, "templates");
}

/** Every class with every template of its language. Throws UsageError if the languages do not match. */
export function classPrompts(labels: ByLanguage, templates: ByLanguage): Classes {
  const languages = Object.keys(labels);
  const first = labels[languages[0]!]!;
  const prompts: string[] = [];
  const classOf: number[] = [];
  for (const language of languages) {
    const names = labels[language]!;
    if (names.length !== first.length)
      throw new UsageError(
        `there are ${first.length} labels in "${languages[0]}", but ${names.length} in "${language}"`,
      );
    const own = textsOf(templates, language);
    if (!own && language === "") throw unsaid(templates);
    if (!own) throw missing("templates", language, templates);
    for (const [index, name] of names.entries()) {
      for (const template of own) {
        prompts.push(template.replaceAll(place, () => name));
        classOf.push(index);
      }
    }
  }
  return { labels: first, prompts, classOf };
}

const isFile = (source: string): boolean => extname(source) === ".json" || existsSync(source);

const items = (text: string, separator: string): string[] =>
  text
    .split(separator)
    .map((item) => item.trim())
    .filter((item) => item !== "");

/** Reads a JSON file with an array of texts, or an object with one for each language. */
async function readTexts(path: string, what: string): Promise<ByLanguage> {
  const value = await readJson(path, what);
  const texts = isTexts(value) ? { "": value } : value;
  if (typeof texts === "object" && texts !== null && !Array.isArray(texts) && Object.values(texts).every(isTexts)) {
    if (
      Object.values(texts)
        .flat()
        .every((text) => text.isWellFormed())
    )
      return texts as ByLanguage;
    throw new FileError(`${what} "${path}" contain a text with an unpaired surrogate`);
  }
  throw new FileError(
    `${what} "${path}" must be an array of texts, or one for each language, as in { "en": ["cat", "dog"] }`,
  );
}

const isTexts = (value: unknown): value is string[] =>
  Array.isArray(value) && value.length > 0 && value.every((item) => typeof item === "string" && item !== "");

/** The texts of a language, else those without one. */
const textsOf = (texts: ByLanguage, language: string): readonly string[] | undefined =>
  [language, ""].filter((key) => Object.hasOwn(texts, key)).map((key) => texts[key]!)[0];

/** The languages to use: the one asked for, else all. */
function inLanguage(texts: ByLanguage, language: string | undefined, what: string): ByLanguage {
  if (Object.values(texts).flat().length === 0) throw new UsageError(`no ${what} given`);
  if (language === undefined) return texts;
  const own = textsOf(texts, language);
  if (!own) throw missing(what, language, texts);
  return { [language]: own };
}

const unsaid = (templates: ByLanguage): UsageError =>
  new UsageError(
    `the templates are in ${Object.keys(templates).join(", ")}, but the labels have no language: choose one with --language`,
  );

function missing(what: string, language: string, texts: ByLanguage): UsageError {
  const known = Object.keys(texts);
  return new UsageError(
    `no ${what} in "${language}"${didYouMean(language, known) || "."} Available: ${known.join(", ")}.`,
  );
}
