/**
 * Filter expressions: `caption.words>=3`, `score.aesthetic>4.5`, `no=placeholder`, `without=words.txt`,
 * `unlike=tests/`.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { FileError, UsageError } from "../../compiler/index.ts";
import { readJson, reasonOf, requirePath } from "../files.ts";
import { decodeUtf8 } from "../folders.ts";
import type { RawSample } from "../samples.ts";
import { type CaptionFault, captionFaults, holdsAnyOf } from "./caption-checks.ts";
import type { Filter, Judge, Judgement } from "./judgement.ts";
import { captionMeasures, fieldOf, pictureMeasures, sidesOfSample } from "./measures.ts";
import { unlike } from "./near-duplicates.ts";

/**
 * Parses filters; the name of a .json file stands for the array of filters in it. UsageError for a text that is not a
 * filter, FileError when a file that a filter needs is missing.
 */
export async function readFilters(texts: readonly string[]): Promise<readonly Filter[]> {
  const written = await Promise.all(texts.map((text) => (text.endsWith(".json") ? ofFile(text) : [text])));
  return await Promise.all(written.flat().map(async (text) => ({ text, judge: await judgeOf(text) })));
}

/** Applies all filters in order; the first that drops a sample gives the reason. */
export async function judge(filters: readonly Filter[], raw: RawSample): Promise<Judgement> {
  let kept = raw;
  for (const filter of filters) {
    const judgement = await filter.judge(kept);
    if ("dropped" in judgement) return judgement;
    kept = judgement.kept;
  }
  return { kept };
}

async function ofFile(path: string): Promise<readonly string[]> {
  const given = await readJson(path, "filter file");
  if (Array.isArray(given) && given.every((text) => typeof text === "string")) return given;
  throw new FileError(
    `filter file "${path}" is not an array of filters such as ["caption.words>=3", "no=placeholder"]`,
  );
}

async function judgeOf(text: string): Promise<Judge> {
  const [, name, relation, value] = /^\s*([\w.-]+)\s*(<=|>=|<|>|=)\s*(.*?)\s*$/s.exec(text) ?? [];
  if (name === undefined || value === undefined || value === "")
    throw noFilter(text, "expected name, relation and value");
  if (relation === "=" && Object.hasOwn(named, name)) return await named[name as keyof typeof named](value, text);
  const bound = Number(value);
  if (!Number.isFinite(bound)) throw noFilter(text, `"${value}" is not a number`);
  const holds = (measured: number) => relations[relation as keyof typeof relations](measured, bound);
  const measure = boundedBy(name, text);
  if (!measure) throw noFilter(text, `"${name}" is unknown`);
  return measure(holds);
}

const relations = {
  "<=": (a: number, b: number) => a <= b,
  ">=": (a: number, b: number) => a >= b,
  "<": (a: number, b: number) => a < b,
  ">": (a: number, b: number) => a > b,
  "=": (a: number, b: number) => a === b,
} as const;

/** Filters whose value is a name or path rather than a bound. */
const named = {
  no: async (value: string, text: string) => {
    const fault = Object.hasOwn(captionFaults, value) ? captionFaults[value as keyof typeof captionFaults] : undefined;
    if (!fault) throw noFilter(text, `"${value}" must be one of ${Object.keys(captionFaults).join(", ")}`);
    return captions((caption) => !fault(caption), text);
  },
  without: async (value: string, text: string) => {
    const isHeld: CaptionFault = holdsAnyOf(await wordsOf(value));
    return captions((caption) => !isHeld(caption), text);
  },
  unlike: (value: string, text: string) => unlike(value, text),
  share: async (value: string, text: string) => shareOf(value, text),
} as const satisfies Readonly<Record<string, (value: string, text: string) => Promise<Judge>>>;

/**
 * Keeps about the given fraction of the samples, by a hash of their names: the same ones every time, wherever the data
 * lies, and smaller fractions are subsets of larger ones.
 */
function shareOf(value: string, text: string): Judge {
  const [, above, below = "1"] = /^(\d*\.?\d+)(?:\/(\d+))?$/.exec(value) ?? [];
  const share = Number(above) / Number(below);
  if (!(share > 0 && share <= 1))
    throw noFilter(text, `"${value}" is not a fraction between 0 and 1, such as 1/16 or 0.5`);
  return async (raw) => (hashed(basename(raw.name)) < share ? { kept: raw } : { dropped: text });
}

/** A hash in [0, 1), uniformly distributed. */
const hashed = (name: string): number => createHash("sha256").update(name).digest().readUInt32BE(0) / 2 ** 32;

async function wordsOf(path: string): Promise<readonly string[]> {
  await requirePath(path, "file", "word list");
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new FileError(`word list "${path}" cannot be read: ${reasonOf(cause)}`, { cause });
  });
  const words = decodeUtf8(bytes, path)
    .split(/\r?\n/)
    .map((word) => word.trim().normalize("NFC"))
    .filter((word) => word !== "");
  if (words.length === 0) throw new FileError(`word list "${path}" is empty: write one word per line`);
  return words;
}

type Holds = (measured: number) => boolean;

/** The judge for a measure and a bound; undefined for an unknown measure. */
function boundedBy(name: string, text: string): ((holds: Holds) => Judge) | undefined {
  const ofCaption = Object.hasOwn(captionMeasures, name) ? captionMeasures[name] : undefined;
  if (ofCaption) return (holds) => captions((caption) => holds(ofCaption(caption)), text);
  const ofPicture = Object.hasOwn(pictureMeasures, name) ? pictureMeasures[name] : undefined;
  if (ofPicture) {
    return (holds) => async (raw) => {
      if (raw.image === undefined) return { kept: raw };
      return holds(ofPicture(await sidesOfSample(raw, raw.image))) ? { kept: raw } : { dropped: text };
    };
  }
  if (!name.startsWith("score.")) return undefined;
  const field = name.slice("score.".length);
  return (holds) => async (raw) => {
    const measured = fieldOf(raw, field);
    if (measured === undefined) return { dropped: `${text}: its JSON has no number "${field}"` };
    return holds(measured) ? { kept: raw } : { dropped: text };
  };
}

/**
 * Judges captions individually: a sample keeps those that pass, and is dropped if none does. A conversation is dropped
 * if any of its answers fails, since its turns belong together.
 */
function captions(passes: (caption: string) => boolean, text: string): Judge {
  return async (raw) => {
    if (raw.turns) {
      const answers = raw.turns.filter(({ role }) => role === "assistant");
      return answers.every((turn) => passes(turn.text)) ? { kept: raw } : { dropped: text };
    }
    if (!raw.texts) return { kept: raw };
    const texts = Object.entries(raw.texts).map(([language, list]) => [language, list.filter(passes)] as const);
    const left = texts.filter(([, list]) => list.length > 0);
    return left.length > 0 ? { kept: { ...raw, texts: Object.fromEntries(left) } } : { dropped: text };
  };
}

const noFilter = (text: string, why: string) =>
  new UsageError(
    `"${text}" is not a filter: ${why}; filters are ${[...Object.keys(captionMeasures), ...Object.keys(pictureMeasures)].join(", ")} or score.<field> with <, <=, =, >= or > and a number, no=<fault>, without=<word list>, unlike=<folder of images>, share=<1/16>`,
  );
