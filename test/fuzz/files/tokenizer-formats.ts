/** tokenizer.json of every kind that models ship with, and tokenizer_config.json beside it. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { learnedTokenizerConfig, learnTokenizer, readTokenizer } from "../../../data/index.ts";
import type { Format } from "./format.ts";

const special = ["<unk>", "<s>", "</s>"].map((content, id) => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
}));
const named = { bos_token: { content: "<s>" }, eos_token: "</s>", unk_token: "<unk>" };
const idsOf = (tokens: readonly string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]));
const characters = [..."abcdefghijklmnopqrstuvwxyz猫"];
const bytes = Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`);

/** As LLaMA's: BPE with byte fallback. */
const llama = {
  version: "1.0",
  added_tokens: special,
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  pre_tokenizer: null,
  post_processor: {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
  },
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
  model: {
    type: "BPE",
    unk_token: "<unk>",
    fuse_unk: true,
    byte_fallback: true,
    vocab: idsOf(["<unk>", "<s>", "</s>", ...bytes, "▁", ...characters, "▁c", "at", "▁cat"]),
    merges: ["▁ c", "a t", "▁c at"],
  },
};

/** As XLM-R's and T5's: pieces with scores. */
const unigram = {
  version: "1.0",
  added_tokens: special,
  normalizer: { type: "Sequence", normalizers: [{ type: "NFKC" }, { type: "Lowercase" }] },
  pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
  post_processor: null,
  decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" },
  model: {
    type: "Unigram",
    unk_id: 0,
    vocab: ["<unk>", "<s>", "</s>", "▁", ...characters, "▁cat", "at"].map((piece, i) => [
      piece,
      i < 3 ? 0 : -1 - i / 8,
    ]),
  },
};

/** As BERT's. */
const wordPiece = {
  version: "1.0",
  added_tokens: special,
  normalizer: { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: null,
  decoder: { type: "WordPiece", prefix: "##", cleanup: true },
  model: {
    type: "WordPiece",
    unk_token: "<unk>",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: idsOf(["<unk>", "<s>", "</s>", ...characters, ...characters.map((c) => `##${c}`), "cat", "##at"]),
  },
};

const learned = {
  ...(learnTokenizer(["a cat sat", "the cat", "a mat"], 270) as object),
  normalizer: { type: "Replace", pattern: { Regex: "\\s+" }, content: " " },
};

const text = "a cat  sat 猫 ";

const tokenizer = (name: string, model: object, config: object): Format => ({
  name,
  write: async (folder) => {
    writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(model));
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify(config));
    return ["tokenizer.json", "tokenizer.json", "tokenizer_config.json"];
  },
  read: async (folder) => {
    const { encode, decode, vocabularySize, ...ids } = await readTokenizer(join(folder, "tokenizer.json"));
    const encoded = encode(text, 40);
    const isId = (id: number) => Number.isInteger(id) && id >= 0 && id < vocabularySize;
    if (![...encoded, ids.bos, ids.eos, ids.pad].every(isId)) throw new Error(`ids out of the vocabulary: ${encoded}`);
    if (encoded.length > 40 || encoded[0] !== ids.bos || encoded.at(-1) !== ids.eos)
      throw new Error(`a text becomes ${encoded}`);
    if (typeof decode(encoded) !== "string") throw new Error("ids become no text");
  },
});

export const tokenizerFormats: readonly Format[] = [
  tokenizer("tokenizer", learned, learnedTokenizerConfig),
  tokenizer("tokenizer-llama", llama, named),
  tokenizer("tokenizer-unigram", unigram, { ...named, pad_token: "<unk>" }),
  tokenizer("tokenizer-wordpiece", wordPiece, { cls_token: "<s>", sep_token: "</s>", pad_token: "<unk>" }),
];
