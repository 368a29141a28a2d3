/** Validates untrusted tokenizer.json files: ids, tokens, model and patterns. */
import { FileError, shown } from "../compiler/index.ts";
import { isRecord } from "./records.ts";

/**
 * Upper bound on ids: tables have that many rows, and eight times the largest vocabulary in use is still far below it.
 */
const idLimit = 2 ** 21;

const isId = (id: unknown): boolean => Number.isInteger(id) && (id as number) >= 0 && (id as number) < idLimit;

/** Throws FileError naming the first token whose id is not an integer from 0 to 2^21. */
export function requireIds(path: string, model: object): void {
  const { model: inner, added_tokens: added } = model as Readonly<Record<string, unknown>>;
  const vocab = isRecord(inner) ? inner.vocab : undefined;
  const pairs: (readonly [unknown, unknown])[] = isRecord(vocab) ? Object.entries(vocab) : [];
  if (Array.isArray(added)) for (const token of added) if (isRecord(token)) pairs.push([token.content, token.id]);
  const wrong = pairs.find(([, id]) => !isId(id));
  if (wrong)
    throw new FileError(
      `tokenizer "${path}" cannot be used: the id of its token ${shown(wrong[0])} must be an integer from 0 to ${idLimit - 1}, got ${shown(wrong[1])}`,
    );
  if (
    Array.isArray(vocab) &&
    !vocab.every((e) => Array.isArray(e) && typeof e[0] === "string" && Number.isFinite(e[1]))
  )
    throw new FileError(
      `tokenizer "${path}" cannot be used: its vocabulary is not a list of tokens with finite scores`,
    );
}

const flags = ["single_word", "lstrip", "rstrip", "normalized", "special"] as const;

/** Throws FileError for a malformed added token, and for a token with an unpaired surrogate. */
export function requireTokens(path: string, model: object): void {
  const { model: inner, added_tokens: added = [] } = model as Readonly<Record<string, unknown>>;
  const isAdded = (token: unknown) =>
    isRecord(token) &&
    typeof token.content === "string" &&
    flags.every((flag) => token[flag] === undefined || typeof token[flag] === "boolean");
  const wrong = Array.isArray(added) ? added.findIndex((token) => !isAdded(token)) : -1;
  if (!Array.isArray(added) || wrong >= 0)
    throw new FileError(
      `tokenizer "${path}" cannot be used: its added_tokens is not a valid list of tokens${wrong >= 0 ? `: see entry ${wrong}` : ""}`,
    );
  const vocab = isRecord(inner) ? inner.vocab : undefined;
  const listed = isRecord(vocab)
    ? Object.keys(vocab)
    : Array.isArray(vocab)
      ? vocab.map(([token]) => String(token))
      : [];
  const broken = [...listed, ...added.map(({ content }) => content as string)].find((token) => !token.isWellFormed());
  if (broken !== undefined)
    throw new FileError(`tokenizer "${path}" cannot be used: its token ${shown(broken)} has an unpaired surrogate`);
}

const modelTypes: readonly unknown[] = ["BPE", "Unigram", "WordPiece", "WordLevel"];

/**
 * Throws FileError for an unknown model type, for two tokens with the same id, and for merges of unknown tokens: the
 * package would silently misinterpret the file.
 */
export function requireModel(path: string, model: object): void {
  const inner = (model as { readonly model?: unknown }).model;
  const { type, vocab, merges, continuing_subword_prefix: prefix } = isRecord(inner) ? inner : {};
  const refuse = (why: string) => new FileError(`tokenizer "${path}" cannot be used: ${why}`);
  if (!modelTypes.includes(type))
    throw refuse(`its model type must be one of ${modelTypes.join(", ")}, got ${shown(type)}`);
  if (!isRecord(vocab)) return;
  if (new Set(Object.values(vocab)).size < Object.keys(vocab).length)
    throw refuse("two of its tokens have the same id");
  if (type !== "BPE") return;
  const length = typeof prefix === "string" ? prefix.length : 0; // the prefix that a merge's second token loses
  const isMerge = (merge: unknown): boolean => {
    const parts: readonly unknown[] = typeof merge === "string" ? merge.split(" ") : Array.isArray(merge) ? merge : [];
    const [left, right] = parts;
    if (parts.length !== 2 || typeof left !== "string" || typeof right !== "string") return false;
    return [left, right, left + right.slice(length)].every((token) => Object.hasOwn(vocab, token));
  };
  const wrong = Array.isArray(merges) ? merges.findIndex((merge) => !isMerge(merge)) : -1;
  if (!Array.isArray(merges)) throw refuse("it has no list of merges");
  if (wrong >= 0) throw refuse(`its merge ${wrong} does not join two tokens into a third`);
}

/**
 * Throws FileError for an added token with the id of another token, or with another id than the vocabulary has for it:
 * the package would rename the one, and Rust's library would give other ids than the file.
 */
export function requireAddedIds(path: string, model: object): void {
  const { model: inner, added_tokens: added = [] } = model as {
    readonly model: { readonly vocab?: unknown };
    readonly added_tokens?: readonly { readonly content: string; readonly id: number }[];
  };
  const { vocab } = inner;
  const pairs: readonly (readonly [string, number])[] = Array.isArray(vocab)
    ? vocab.map(([token], id) => [token as string, id] as const)
    : Object.entries((vocab ?? {}) as Readonly<Record<string, number>>);
  const ids = new Map(pairs);
  const tokens = new Map(pairs.map(([token, id]) => [id, token]));
  for (const { content, id } of added) {
    const [other, known] = [tokens.get(id) ?? content, ids.get(content) ?? id];
    if (other !== content || known !== id)
      throw new FileError(
        `tokenizer "${path}" cannot be used: its added token ${shown(content)} has the id ${id}, ${known !== id ? `but elsewhere in the file ${known}` : `which is that of ${shown(other)}`}`,
      );
    ids.set(content, id);
    tokens.set(id, content);
  }
}

const isText = (value: unknown) => typeof value === "string";
const isFlag = (value: unknown) => typeof value === "boolean";

/** What a model's options must be where they are given and not null. */
const options: Readonly<Record<string, readonly [isValid: (value: unknown) => boolean, expected: string]>> = {
  unk_token: [isText, "a text"],
  continuing_subword_prefix: [isText, "a text"],
  end_of_word_suffix: [isText, "a text"],
  fuse_unk: [isFlag, "true or false"],
  byte_fallback: [isFlag, "true or false"],
  ignore_merges: [isFlag, "true or false"],
  max_input_chars_per_word: [(value) => Number.isInteger(value) && (value as number) > 0, "a positive integer"],
};

/**
 * Throws FileError for an option of another type, and for an unknown token outside the vocabulary: the package would
 * silently tokenize otherwise, or give an id that no table has.
 */
export function requireOptions(path: string, model: object): void {
  const inner = (model as { readonly model: Readonly<Record<string, unknown>> }).model;
  const refuse = (name: string, expected: string) =>
    new FileError(
      `tokenizer "${path}" cannot be used: the ${name} of its model must be ${expected}, got ${shown(inner[name])}`,
    );
  for (const [name, [isValid, expected]] of Object.entries(options))
    if ((inner[name] ?? null) !== null && !isValid(inner[name])) throw refuse(name, expected);
  const { unk_id: id, vocab } = inner;
  const isKnown = Array.isArray(vocab) ? isId(id) && (id as number) < vocab.length : true;
  if ((id ?? null) !== null && !isKnown) throw refuse("unk_id", "the index of one of its tokens");
}

/**
 * Throws FileError for a pattern that is neither a string nor a regular expression, and for a replacement that is no
 * text: the package would silently ignore the one, and write "null" for the other.
 */
export function requirePatterns(path: string, model: object): void {
  for (const record of recordsWithin(model)) {
    const { type, pattern, content } = record;
    const isWanted = type === "Replace" || type === "Split" || Object.hasOwn(record, "pattern");
    if (isWanted && !isPattern(pattern))
      throw new FileError(
        `tokenizer "${path}" cannot be used: one of its patterns is neither { "String": text } nor { "Regex": text }`,
      );
    if (type === "Replace" && typeof content !== "string")
      throw new FileError(
        `tokenizer "${path}" cannot be used: the content of one of its replacements must be a text, got ${shown(content)}`,
      );
  }
}

/** Where the steps of a sequence stand, by the part of the file. */
const lists = {
  normalizer: "normalizers",
  pre_tokenizer: "pretokenizers",
  post_processor: "processors",
  decoder: "decoders",
} as const;

/** Throws FileError for a sequence without its list: the package would silently take it for an empty one. */
export function requireSequences(path: string, model: object): void {
  for (const [part, list] of Object.entries(lists))
    for (const record of recordsWithin([(model as Readonly<Record<string, unknown>>)[part]]))
      if (record.type === "Sequence" && !Array.isArray(record[list]))
        throw new FileError(`tokenizer "${path}" cannot be used: the sequence in its ${part} has no list "${list}"`);
}

/** How much longer replacements may make a text, all together; those in use make it a few times as long. */
const growthLimit = 2 ** 16;

/**
 * Throws FileError for replacements that, one after another, would fill memory: forty that double a letter are 2^40.
 * Those by regular expressions are interrupted.
 */
export function requireSmallGrowth(path: string, model: object): void {
  for (const part of ["normalizer", "decoder"] as const) {
    const steps = recordsWithin([(model as Readonly<Record<string, unknown>>)[part]]);
    const growth = steps.reduce((most, step) => most * Math.max(1, growthOf(step)), 1);
    if (growth > growthLimit)
      throw new FileError(
        `tokenizer "${path}" cannot be used: the replacements in its ${part} may make a text more than ${growthLimit} times as long`,
      );
  }
}

function growthOf({ type, pattern, content }: Readonly<Record<string, unknown>>): number {
  if (type !== "Replace" || typeof content !== "string" || !isRecord(pattern)) return 1;
  if (typeof pattern.String !== "string") return 1;
  return pattern.String === "" ? content.length + 1 : content.length / pattern.String.length;
}

/** All records in a file except its tables. Iterative, since a file may be nested arbitrarily deep. */
function* recordsWithin(model: object): Generator<Readonly<Record<string, unknown>>> {
  const left: unknown[] = [model];
  while (left.length > 0) {
    const value = left.pop();
    if (Array.isArray(value)) for (const inner of value) left.push(inner);
    if (!isRecord(value)) continue;
    yield value;
    for (const [key, inner] of Object.entries(value)) if (key !== "vocab" && key !== "merges") left.push(inner);
  }
}

const isPattern = (value: unknown): boolean =>
  isRecord(value) && [value.String, value.Regex].some((text) => typeof text === "string");

/** Whether the file contains any regular expression. */
export const hasPatterns = (model: object): boolean =>
  recordsWithin(model).some((record) => Object.hasOwn(record, "Regex"));
