/**
 * A real multilingual image-text set that needs no download: emoji by four artists, named in more than a hundred
 * languages.
 */
import { join } from "node:path";
import { FileError, UsageError } from "../../compiler/index.ts";
import { type Item, isRecord, listFolder, readJson } from "../../data/index.ts";
import { type Artist, type ArtistId, artists, type Credit, namesCredit } from "./artists.ts";
import { packageFolder } from "./packages.ts";

/** One emoji: an image by every artist and texts in every language of the set. */
export interface Emoji {
  /** Code points in upper-case hexadecimal joined by "-", without variation selectors: "1F600". */
  readonly id: string;
  readonly characters: string;
  /** Unicode's own grouping, such as "Animals & Nature". */
  readonly category: string;
  readonly images: Readonly<Record<ArtistId, string>>;
  /** By language: the name first, then keywords that few other emoji share. */
  readonly texts: Readonly<Record<string, readonly string[]>>;
  /** By language: keywords that many emoji share, such as "face", "food" or "clock"; some emoji have none. */
  readonly kinds: Readonly<Record<string, readonly string[]>>;
}

/** The emoji that every artist drew and every language names, in Unicode's order. */
export interface EmojiSet {
  readonly languages: readonly string[];
  readonly emoji: readonly Emoji[];
  /** Artists first, then the source of the names. */
  readonly credits: readonly Credit[];
}

export interface EmojiOptions {
  /** CLDR locales; default English, Chinese, Arabic and Spanish. */
  readonly languages?: readonly string[];
  /** Also take joined sequences such as "woman astronaut", which repeat a base emoji with small changes. */
  readonly sequences?: boolean;
  /** Keywords that more emoji than this share are too unspecific and left out; default 4. */
  readonly keywordShare?: number;
  /** Keywords that at least this many emoji share name their kind; default 20. */
  readonly kindShare?: number;
}

/**
 * Lists the set without opening images. Skin tones and national flags are left out (CLDR's main file names no flags),
 * and joined sequences unless asked for. Throws UsageError for a language that CLDR does not have; FileError for a
 * package that is not installed.
 */
export async function emojiSet(options: EmojiOptions = {}): Promise<EmojiSet> {
  const { languages = ["en", "zh", "ar", "es"], sequences = false, keywordShare = 4, kindShare = 20 } = options;
  const known = await knownEmoji(sequences);
  const drawings = await Promise.all(Object.values(artists).map(drawingsOf));
  const names = await Promise.all(languages.map((language) => annotations(language)));
  const complete = known.filter(({ id }) => drawings.every((d) => d.has(id)) && names.every((n) => n.has(id)));
  const ids = complete.map(({ id }) => id);
  const texts = names.map((n) => distinctive(n, ids, keywordShare));
  const kinds = names.map((n) => shared(n, ids, kindShare));
  const emoji = complete.map(({ id, category }) => ({
    id,
    characters: String.fromCodePoint(...id.split("-").map((hex) => Number.parseInt(hex, 16))),
    category,
    images: record(Object.keys(artists) as ArtistId[], (_, i) => drawings[i]!.get(id)!),
    texts: record(languages, (_, i) => texts[i]!.get(id)!),
    kinds: record(languages, (_, i) => kinds[i]!.get(id)!),
  }));
  return { languages, emoji, credits: [...Object.values(artists), namesCredit] };
}

/** The set as training items: one per emoji, with the given artists' images, by default in all languages. */
export function emojiItems(
  set: EmojiSet,
  drawnBy: readonly ArtistId[],
  languages: readonly string[] = set.languages,
): readonly Item[] {
  return set.emoji.map((emoji) => ({
    group: emoji.id,
    images: drawnBy.map((artist) => emoji.images[artist]),
    texts: record(languages, (language) => emoji.texts[language]!),
  }));
}

interface Known {
  readonly id: string;
  readonly category: string;
}

/** Every emoji of Unicode that is not a variant of another, from the list that comes with the Noto images. */
async function knownEmoji(sequences: boolean): Promise<readonly Known[]> {
  const path = join(packageFolder(artists.noto.package), "emoji.json");
  const list = await readJson(path, "emoji list");
  if (!Array.isArray(list)) throw new FileError(`emoji list "${path}" is not a JSON array`);
  const joiner = "200D";
  return list
    .filter((entry) => isRecord(entry) && typeof entry.unified === "string" && !entry.obsoleted_by)
    .filter((entry) => entry.category !== "Component" && (sequences || !entry.unified.split("-").includes(joiner)))
    .sort((a, b) => a.sort_order - b.sort_order)
    .map((entry) => ({ id: bare(entry.unified), category: String(entry.category) }));
}

/** The file of an artist's image of each emoji, by id. */
async function drawingsOf(artist: Artist): Promise<ReadonlyMap<string, string>> {
  const folder = join(packageFolder(artist.package), artist.folder);
  const files = (await listFolder(folder, `${artist.name} folder`)).filter((file) => file.endsWith(artist.extension));
  return new Map(files.map((file) => [bare(file.slice(0, -artist.extension.length)), join(folder, file)]));
}

/**
 * Names and keywords of one language by id, the name first. A region ("pt-PT") only lists differences from its language
 * ("pt").
 */
async function annotations(language: string): Promise<ReadonlyMap<string, readonly string[]>> {
  const folder = join(packageFolder("cldr-annotations-full"), "annotations");
  const available = await listFolder(folder, "CLDR folder");
  if (!available.includes(language)) {
    throw new UsageError(`CLDR names no emoji in "${language}"; it has ${available.join(", ")}`);
  }
  const general = language.replace(/-([A-Z]{2}|\d{3})$/, "");
  const own = await ownAnnotations(folder, language);
  if (general === language || !available.includes(general)) return named(own);
  return named(new Map([...(await ownAnnotations(folder, general)), ...own]));
}

/** `name` is CLDR's "tts", intended for text-to-speech. */
interface Annotation {
  readonly name: string;
  readonly keywords: readonly string[];
}

async function ownAnnotations(folder: string, language: string): Promise<ReadonlyMap<string, Annotation>> {
  const path = join(folder, language, "annotations.json");
  const file = (await readJson(path, "CLDR annotations")) as { annotations?: { annotations?: unknown } };
  const entries = file.annotations?.annotations;
  if (!isRecord(entries)) throw new FileError(`CLDR annotations "${path}" hold no annotations`);
  const texts = (value: unknown): string[] =>
    (Array.isArray(value) ? value : []).filter((text) => typeof text === "string");
  return new Map(
    Object.entries(entries).flatMap(([characters, entry]) => {
      const [name] = texts(isRecord(entry) ? entry.tts : undefined);
      if (name === undefined) return [];
      return [[idOf(characters), { name, keywords: texts((entry as { default?: unknown }).default) }] as const];
    }),
  );
}

/** The name first; a keyword that repeats it is dropped. */
const named = (annotations: ReadonlyMap<string, Annotation>): ReadonlyMap<string, readonly string[]> =>
  new Map(Array.from(annotations, ([id, { name, keywords }]) => [id, [...new Set([name, ...keywords])]]));

type Texts = ReadonlyMap<string, readonly string[]>;

/** Drops the keywords that more than `share` of these emoji have; names stay. */
function distinctive(texts: Texts, ids: readonly string[], share: number): Texts {
  const uses = usesOf(texts, ids);
  return new Map(ids.map((id) => [id, texts.get(id)!.filter((text, i) => i === 0 || uses.get(text)! <= share)]));
}

/** The keywords that at least `share` of these emoji have; names excluded. */
function shared(texts: Texts, ids: readonly string[], share: number): Texts {
  const uses = usesOf(texts, ids);
  return new Map(ids.map((id) => [id, texts.get(id)!.filter((text, i) => i > 0 && uses.get(text)! >= share)]));
}

function usesOf(texts: Texts, ids: readonly string[]): Map<string, number> {
  const uses = new Map<string, number>();
  for (const id of ids) for (const text of texts.get(id)!) uses.set(text, (uses.get(text) ?? 0) + 1);
  return uses;
}

const bare = (codePoints: string) =>
  codePoints
    .toUpperCase()
    .split("-")
    .filter((hex) => hex !== "FE0F")
    .join("-");

const idOf = (characters: string) =>
  bare(Array.from(characters, (c) => c.codePointAt(0)!.toString(16).padStart(4, "0")).join("-"));

const record = <K extends string, V>(keys: readonly K[], value: (key: K, index: number) => V) =>
  Object.fromEntries(keys.map((key, i) => [key, value(key, i)])) as Record<K, V>;
