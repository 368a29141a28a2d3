/** Tokenization: a common interface, a byte-level tokenizer for small models, and tokenizer.json files. */

import { Tokenizer as Hub } from "@huggingface/tokenizers";
import { withinPatience } from "#patience";
import { FileError, type HostTensor, hostTensor, UsageError } from "../compiler/index.ts";
import { isRecord, reasonOf } from "./records.ts";
import {
  requireAddedIds,
  requireIds,
  requireModel,
  requireOptions,
  requirePatterns,
  requireSequences,
  requireSmallGrowth,
  requireTokens,
} from "./tokenizer-checks.ts";
import { rewriteParts } from "./tokenizer-parts.ts";

/**
 * Converts text to ids and back. Ids are integers in [0, vocabularySize). Accessing a special token that a
 * tokenizer.json lacks throws FileError.
 */
export interface Tokenizer {
  readonly vocabularySize: number;
  readonly pad: number;
  readonly bos: number;
  readonly eos: number;
  /** BOS, the text, EOS: at most `maxLength` ids. The text is truncated if needed; EOS always stays. */
  readonly encode: (text: string, maxLength: number) => readonly number[];
  /** The text with the special tokens of the tokenizer's own template, not truncated. */
  readonly encodeByTemplate: (text: string) => readonly number[];
  /** The text of ids, without special tokens. */
  readonly decode: (ids: readonly number[]) => string;
}

/** A tokenizer with some properties replaced. Missing special tokens throw only when accessed. */
export const withTokens = <T extends Tokenizer, R extends object>(tokenizer: T, replaced: R): T & R =>
  Object.defineProperties(
    {},
    {
      ...Object.getOwnPropertyDescriptors(tokenizer),
      ...Object.getOwnPropertyDescriptors(replaced),
    },
  ) as T & R;

/** Tokenized texts: `ids` i32 [batch, token], right-padded; `eos` i32 [batch], the index of each row's EOS. */
export interface TokenBatch {
  readonly ids: HostTensor;
  readonly eos: HostTensor;
}

/** Tokenizes a batch of texts to rows of exactly `length` ids. */
export function tokenBatch(tokenizer: Tokenizer, texts: readonly string[], length: number): TokenBatch {
  const ids = new Int32Array(texts.length * length).fill(tokenizer.pad);
  const eos = new Int32Array(texts.length);
  for (const [row, text] of texts.entries()) {
    const encoded = tokenizer.encode(text, length);
    ids.set(encoded, row * length);
    eos[row] = encoded.length - 1;
  }
  const batch = { name: "batch", size: texts.length };
  return {
    ids: hostTensor("i32", [batch, { name: "token", size: length }], ids),
    eos: hostTensor("i32", [batch], eos),
  };
}

const firstByte = 3; // after pad 0, bos 1, eos 2

/**
 * UTF-8 bytes as tokens: pad 0, bos 1, eos 2, byte b is b + 3. Works for any language without a vocabulary file;
 * truncates only between characters.
 */
export const byteTokenizer: Tokenizer = {
  vocabularySize: 256 + firstByte,
  pad: 0,
  bos: 1,
  eos: 2,
  encode(text, maxLength) {
    checkLength(maxLength);
    const bytes = new TextEncoder().encode(text);
    return [1, ...Array.from(bytes.subarray(0, characterBoundary(bytes, maxLength - 2)), (b) => b + firstByte), 2];
  },
  encodeByTemplate: (text) => [1, ...Array.from(new TextEncoder().encode(text), (b) => b + firstByte), 2],
  decode: (ids) =>
    new TextDecoder().decode(
      Uint8Array.from(
        ids.filter((id) => id >= firstByte && id < firstByte + 256), // a larger vocabulary has ids of no byte
        (id) => id - firstByte,
      ),
    ),
};

/** The longest prefix of at most `limit` bytes that ends between two characters. */
function characterBoundary(bytes: Uint8Array, limit: number): number {
  if (bytes.length <= limit) return bytes.length;
  let end = limit;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1; // 10xxxxxx continues a character
  return end;
}

/** The used part of the package's class; its own declarations do not resolve under Node's module rules. */
interface HubTokenizer {
  readonly encode: (text: string, options: { readonly add_special_tokens: boolean }) => { readonly ids: number[] };
  readonly decode: (ids: number[], options: { readonly skip_special_tokens: boolean }) => string;
  readonly token_to_id: (token: string) => number | undefined;
  readonly get_vocab: (withAddedTokens: boolean) => ReadonlyMap<string, number>;
}

/** Special tokens by their text, for tokenizers whose files do not name them. */
export interface SpecialTokens {
  readonly pad?: string;
  readonly bos?: string;
  readonly eos?: string;
}

/**
 * A tokenizer from the contents of a tokenizer.json and, optionally, its tokenizer_config.json; `path` is used in
 * errors. FileError when they are malformed or name a special token that does not exist.
 */
export function tokenizerFrom(
  path: string,
  model: object,
  config: object = {},
  special: SpecialTokens = {},
): Tokenizer {
  const settings = config as Readonly<Record<string, unknown>>;
  requireIds(path, model);
  requireTokens(path, model);
  requireModel(path, model);
  requireOptions(path, model);
  requireAddedIds(path, model);
  requirePatterns(path, model);
  requireSequences(path, model);
  requireSmallGrowth(path, model);
  const hub = construct(path, model, settings);
  const inner = (model as { model?: { unk_token?: unknown } }).model;
  const unknown = typeof inner?.unk_token === "string" ? inner.unk_token : undefined;
  const id = (role: keyof SpecialTokens, ...candidates: readonly (string | undefined)[]) =>
    specialId(hub, path, role, [special[role], ...candidates]);

  return wrap(path, hub, {
    bos: id("bos", tokenText(settings.bos_token), tokenText(settings.cls_token)),
    eos: id("eos", tokenText(settings.eos_token), tokenText(settings.sep_token)),
    pad: id("pad", tokenText(settings.pad_token), tokenText(settings.unk_token), unknown),
  });
}

/** Ids of special tokens; undefined for those that the file does not name. */
type SpecialIds = Readonly<Record<keyof SpecialTokens, number | undefined>>;

function construct(path: string, model: object, config: object): HubTokenizer {
  const guarded = <A extends readonly unknown[], R>(work: (...args: A) => R) =>
    explained(path, withinPatience(path, model, work));
  const hub: HubTokenizer = guarded(() => new Hub(rewriteParts(path, model), config))();
  const used = {
    encode: guarded(hub.encode.bind(hub)),
    decode: guarded(hub.decode.bind(hub)),
    token_to_id: hub.token_to_id.bind(hub),
    get_vocab: hub.get_vocab.bind(hub),
  };
  const { ids } = used.encode("a", { add_special_tokens: false }); // fail now rather than in mid-training
  if (ids.length > 0) used.decode(ids, { skip_special_tokens: true });
  return used;
}

/** The package throws arbitrary errors for unexpected file contents. */
function explained<A extends readonly unknown[], R>(path: string, work: (...args: A) => R): (...args: A) => R {
  return (...args) => {
    try {
      return work(...args);
    } catch (cause) {
      if (cause instanceof FileError) throw cause;
      throw new FileError(`tokenizer "${path}" cannot be used: ${reasonOf(cause).slice(0, 300)}`, { cause });
    }
  };
}

function wrap(path: string, hub: HubTokenizer, ids: SpecialIds): Tokenizer {
  const special: ReadonlySet<number | undefined> = new Set(Object.values(ids));
  const named = (role: keyof SpecialTokens): number => {
    const id = ids[role];
    if (id !== undefined) return id;
    throw new FileError(
      `tokenizer "${path}" has no ${role} token: set it in the tokenizer_config.json next to it, as in { "${role}_token": "</s>" }`,
    );
  };
  return {
    get bos() {
      return named("bos");
    },
    get eos() {
      return named("eos");
    },
    get pad() {
      return named("pad");
    },
    vocabularySize:
      1 +
      hub
        .get_vocab(true)
        .values()
        .reduce((most, id) => Math.max(most, id), 0),
    encode(text, maxLength) {
      checkLength(maxLength);
      const inner = hub.encode(text, { add_special_tokens: false }).ids;
      if (!inner.every(Number.isInteger))
        throw new FileError(`tokenizer "${path}" has no token for part of a text, and no unknown token`);
      return [named("bos"), ...inner.slice(0, maxLength - 2), named("eos")];
    },
    encodeByTemplate: (text) => hub.encode(text, { add_special_tokens: true }).ids,
    decode(tokens) {
      const inner = tokens.filter((id) => !special.has(id));
      return inner.length === 0 ? "" : hub.decode(inner, { skip_special_tokens: true }); // it rejects empty input
    },
  };
}

function specialId(
  hub: HubTokenizer,
  path: string,
  role: string,
  names: readonly (string | undefined)[],
): number | undefined {
  for (const name of names) {
    const id = name === undefined ? undefined : hub.token_to_id(name);
    if (id !== undefined) return id;
    if (name !== undefined)
      throw new FileError(`tokenizer "${path}" has no token "${name}", which is configured as its ${role} token`);
  }
  return undefined;
}

/** Configurations give a special token as its text, or as a record with the text in `content`. */
function tokenText(token: unknown): string | undefined {
  const text = isRecord(token) ? token.content : token;
  return typeof text === "string" ? text : undefined;
}

function checkLength(maxLength: number): void {
  if (Number.isInteger(maxLength) && maxLength >= 2) return;
  throw new UsageError(`the maximum length must be at least 2 tokens, for bos and eos, got ${maxLength}`);
}
