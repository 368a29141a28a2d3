/** Surveys a dataset: samples, images, captions and languages, and what is broken or filtered out. */
import { judge, readFilters } from "./filters/filter.ts";
import type { Filter } from "./filters/judgement.ts";
import { sidesOfSample, wordCount } from "./filters/measures.ts";
import { decodeGrey, type ImageSource, imageName } from "./images.ts";
import type { RawSample, SampleKind } from "./samples.ts";
import { type SkipCounts, skipCounts } from "./skips.ts";
import { findSources } from "./sources/find.ts";
import { readAll } from "./sources/read-all.ts";

export interface SurveyOptions {
  readonly filters?: readonly string[];
  readonly images?: string;
  readonly language?: string;
  /** Also decode every image, as training will; otherwise only headers are read. */
  readonly decode: boolean;
  readonly signal?: AbortSignal;
}

/** A single pass over a dataset. */
export interface Survey {
  /** A line per spec, for display. */
  readonly report: readonly string[];
  /** Total number of shards, folders and lists. */
  readonly parts: number;
  /** The remaining samples, in order; counts are complete once all were consumed. */
  readonly kept: (onPart?: (done: number) => void) => AsyncGenerator<RawSample>;
  readonly broken: SkipCounts["counts"];
  /** By filter. */
  readonly dropped: SkipCounts["counts"];
}

/** Resolves the specs and parses the filters; throws FileError or UsageError before anything else is read. */
export async function survey(specs: readonly string[], kind: SampleKind, options: SurveyOptions): Promise<Survey> {
  const { language = "und", images, signal } = options;
  const sources = await findSources(specs, kind, { language, ...(images === undefined ? {} : { images }) });
  const filters = await readFilters(options.filters ?? []);
  const [broken, dropped] = [skipCounts(), skipCounts()];
  return {
    report: sources.map(
      ({ spec, parts, partName }) => `${spec}: ${parts.length} ${partName}${parts.length === 1 ? "" : "s"}`,
    ),
    parts: sources.reduce((sum, { parts }) => sum + parts.length, 0),
    kept: (onPart) =>
      readAll(sources, {
        judge: (raw) => checked(raw, filters, options.decode),
        onBroken: broken.add,
        onDropped: dropped.add,
        ...(onPart ? { onPart } : {}),
        ...(signal ? { signal } : {}),
      }),
    broken: broken.counts,
    dropped: dropped.counts,
  };
}

/** A broken image counts as broken, even if filters would drop the sample. */
async function checked(raw: RawSample, filters: readonly Filter[], decode: boolean) {
  if (raw.image !== undefined) await (decode ? decodeGrey(raw.image, 1) : sidesOfSample(raw, raw.image));
  return await judge(filters, raw);
}

/** Minimum, median and maximum of integers. */
export interface Spread {
  readonly least: number;
  readonly median: number;
  readonly most: number;
}

export interface Holdings {
  readonly samples: number;
  readonly pictures: number;
  /** Shorter side in pixels. */
  readonly side?: Spread;
  readonly formats: Readonly<Record<string, number>>;
  readonly texts: number;
  readonly words?: Spread;
  /** Texts by their stated language, or else by their script, as in "Latin". */
  readonly languages: Readonly<Record<string, number>>;
  readonly classes: number;
}

/** Accumulates statistics of samples. */
export function holdings() {
  const [sides, words] = [new Map<number, number>(), new Map<number, number>()];
  const [formats, languages] = [new Map<string, number>(), new Map<string, number>()];
  const classes = new Set<string>();
  let [samples, pictures, texts] = [0, 0, 0];
  const addText = (text: string, language: string) => {
    texts += 1;
    increment(words, wordCount(text));
    increment(languages, language === "und" ? scriptOf(text) : language);
  };
  return {
    async add(raw: RawSample) {
      samples += 1;
      if (raw.className !== undefined) classes.add(raw.className);
      for (const [language, list] of Object.entries(raw.texts ?? {})) for (const text of list) addText(text, language);
      for (const { text } of raw.turns ?? []) addText(text, "und");
      if (raw.image === undefined) return;
      const { width, height } = await sidesOfSample(raw, raw.image);
      pictures += 1;
      increment(sides, Math.min(width, height));
      increment(formats, pictureExtension(raw.image));
    },
    found: (): Holdings => ({
      samples,
      pictures,
      ...(pictures > 0 ? { side: spreadOf(sides) } : {}),
      formats: byCount(formats),
      texts,
      ...(texts > 0 ? { words: spreadOf(words) } : {}),
      languages: byCount(languages),
      classes: classes.size,
    }),
  };
}

/** jpg, png or webp, by the image's name. */
export function pictureExtension(image: ImageSource): string {
  const extension = /\.([a-z]+)$/i.exec(imageName(image))?.[1]?.toLowerCase() ?? "none";
  return extension === "jpeg" ? "jpg" : extension;
}

const increment = <K>(counts: Map<K, number>, key: K) => counts.set(key, (counts.get(key) ?? 0) + 1);

const byCount = (counts: ReadonlyMap<string, number>) =>
  Object.fromEntries([...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)));

function spreadOf(counts: ReadonlyMap<number, number>): Spread {
  const sorted = [...counts].sort((a, b) => a[0] - b[0]);
  const total = sorted.reduce((sum, [, count]) => sum + count, 0);
  let seen = 0;
  const middle = sorted.find(([, count]) => {
    seen += count;
    return 2 * seen >= total;
  });
  return { least: sorted[0]![0], median: middle![0], most: sorted.at(-1)![0] };
}

const scripts = [
  "Latin",
  "Han",
  "Hiragana",
  "Katakana",
  "Hangul",
  "Cyrillic",
  "Arabic",
  "Devanagari",
  "Greek",
  "Hebrew",
  "Thai",
  "Bengali",
  "Tamil",
].map((name) => [name, new RegExp(`\\p{Script=${name}}`, "gu")] as const);

/** The script of most letters; any kana make a text Japanese, however many Chinese characters it has. */
function scriptOf(text: string): string {
  const counted = scripts.map(([name, pattern]) => [name, text.match(pattern)?.length ?? 0] as const);
  if (counted.some(([name, count]) => (name === "Hiragana" || name === "Katakana") && count > 0)) return "Japanese";
  const [name, count] = counted.reduce((most, one) => (one[1] > most[1] ? one : most));
  return count > 0 ? name : "other";
}
