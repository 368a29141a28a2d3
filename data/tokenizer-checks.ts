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
 * Throws FileError for a pattern that is neither a string nor a regular expression: the package would silently ignore
 * it.
 */
export function requirePatterns(path: string, model: object): void {
  for (const record of recordsWithin(model)) {
    const { type, pattern } = record;
    const isWanted = type === "Replace" || type === "Split" || Object.hasOwn(record, "pattern");
    if (isWanted && !isPattern(pattern))
      throw new FileError(
        `tokenizer "${path}" cannot be used: one of its patterns is neither { "String": text } nor { "Regex": text }`,
      );
  }
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
