import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FileError, UsageError } from "../../compiler/index.ts";
import { byteTokenizer, readTokenizer, tokenBatch } from "../../data/index.ts";
import { temporaryFolder } from "./support.ts";

const text = fc.string({ unit: "binary", maxLength: 40 });

describe("byteTokenizer", () => {
  it("decodes no id of a larger vocabulary, which is no byte", () => {
    expect(byteTokenizer.decode([1, 68, 259, 261, 198, 172, 2])).toBe("Aé");
  });

  it("writes bytes + 3 between BOS and EOS", () => {
    expect(byteTokenizer.encode("Aé", 10)).toEqual([1, 68, 198, 172, 2]);
    expect(byteTokenizer.encode("", 2)).toEqual([1, 2]);
    expect(byteTokenizer.vocabularySize).toBe(259);
  });

  it("round-trips any text", () => {
    fc.assert(
      fc.property(text, (t) => {
        expect(byteTokenizer.decode(byteTokenizer.encode(t, 1000))).toBe(t);
      }),
    );
  });

  it("cuts at a character and keeps EOS", () => {
    fc.assert(
      fc.property(text, fc.integer({ min: 2, max: 30 }), (t, length) => {
        const ids = byteTokenizer.encode(t, length);
        expect(ids.length).toBeLessThanOrEqual(length);
        expect([ids[0], ids.at(-1)]).toEqual([1, 2]);
        const kept = byteTokenizer.decode(ids);
        expect(t.startsWith(kept)).toBe(true);
        // Not a character less than fits.
        const next = Buffer.byteLength(Array.from(t.slice(kept.length))[0] ?? "");
        if (kept !== t) expect(Buffer.byteLength(kept) + next).toBeGreaterThan(length - 2);
      }),
    );
    expect(byteTokenizer.decode(byteTokenizer.encode("猫脸", 7))).toBe("猫");
  });

  it("makes batches padded on the right, with the place of EOS", () => {
    const { ids, eos } = tokenBatch(byteTokenizer, ["ab", "قطة", ""], 6);
    expect(ids.axes).toEqual([
      { name: "batch", size: 3 },
      { name: "token", size: 6 },
    ]);
    expect(ids.dtype).toBe("i32");
    expect(Array.from(ids.data.subarray(0, 6))).toEqual([1, 100, 101, 2, 0, 0]);
    expect(Array.from(eos.data)).toEqual([3, 5, 1]);
    for (const [row, at] of Array.from(eos.data).entries()) expect(ids.data[row * 6 + at]).toBe(2);
    expect(() => tokenBatch(byteTokenizer, ["a"], 1)).toThrow(UsageError);
  });
});

/** A byte-pair tokenizer of the LLaMA kind: metaspace, byte fallback, <unk> <s> </s> first. */
const llamaLike = {
  version: "1.0",
  added_tokens: ["<unk>", "<s>", "</s>"].map((content, id) => ({ id, content, special: true })),
  normalizer: {
    type: "Sequence",
    normalizers: [
      { type: "Prepend", prepend: "▁" },
      { type: "Replace", pattern: { String: " " }, content: "▁" },
    ],
  },
  pre_tokenizer: null,
  post_processor: null,
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
    vocab: Object.fromEntries(
      [
        ...["<unk>", "<s>", "</s>"],
        ...Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`),
        ...["▁", "a", "c", "t", "at", "cat", "▁cat"],
      ].map((token, id) => [token, id]),
    ),
    merges: ["a t", "c at", "▁ cat"],
  },
};

describe("readTokenizer", () => {
  async function folderWith(model: unknown, config?: unknown): Promise<string> {
    const folder = temporaryFolder();
    const write = (name: string, value: unknown) =>
      writeFile(join(folder, name), typeof value === "string" ? value : JSON.stringify(value));
    await write("tokenizer.json", model);
    if (config) await write("tokenizer_config.json", config);
    return join(folder, "tokenizer.json");
  }
  const config = { bos_token: { content: "<s>" }, eos_token: "</s>", unk_token: "<unk>" };

  it("surrounds texts with BOS and EOS, falls back to bytes and keeps EOS when cutting", async () => {
    const tokenizer = await readTokenizer(await folderWith(llamaLike, config));
    expect([tokenizer.pad, tokenizer.bos, tokenizer.eos, tokenizer.vocabularySize]).toEqual([0, 1, 2, 266]);
    expect(tokenizer.encode("cat cat", 10)).toEqual([1, 265, 265, 2]);
    expect(tokenizer.encode("cat cat cat", 4)).toEqual([1, 265, 265, 2]);
    expect(tokenizer.decode(tokenizer.encode("cat 猫", 20))).toBe("cat 猫");
    expect(() => tokenizer.encode("cat", 1)).toThrow(UsageError);
    const { eos } = tokenBatch(tokenizer, ["cat", "cat cat cat cat cat cat"], 5);
    expect(Array.from(eos.data)).toEqual([2, 4]);
  });

  it("says which special token is missing, and takes it from the caller", async () => {
    const path = await folderWith(llamaLike);
    const nameless = await readTokenizer(path);
    expect(() => nameless.encode("a", 4)).toThrow(/has no bos token: set it/);
    const told = await readTokenizer(path, { bos: "<s>", eos: "</s>" });
    expect(told.encode("cat", 9)).toEqual([1, 265, 2]);
    await expect(readTokenizer(path, { bos: "<s>", eos: "<end>" })).rejects.toThrow(
      /has no token "<end>", which is configured as its eos token/,
    );
  });

  it("answers malformed files with one error that names them", async () => {
    for (const model of ["{", "[]", "{}", { model: { type: "Nonsense" } }, { model: { type: "BPE" } }]) {
      const path = await folderWith(model, config);
      const error = await readTokenizer(path).catch((e: unknown) => e);
      expect(error).toBeInstanceOf(FileError);
      expect((error as Error).message).toContain(path);
    }
    await expect(readTokenizer("missing/tokenizer.json")).rejects.toThrow(/"missing\/tokenizer.json" cannot be read/);
  });

  it.each([2 ** 31, 2 ** 21, -1, 1.5, null, "7"])(
    "refuses an id of %j, in the vocabulary and beside it",
    async (id) => {
      const { model } = llamaLike;
      const inside = { ...llamaLike, model: { ...model, vocab: { ...model.vocab, odd: id } } };
      const beside = { ...llamaLike, added_tokens: [{ id, content: "odd", special: false }] };
      for (const file of [inside, beside])
        await expect(readTokenizer(await folderWith(file, config))).rejects.toThrow(
          `the id of its token "odd" must be an integer from 0 to 2097151, got ${JSON.stringify(id)}`,
        );
    },
  );

  it.each([
    [
      "a type that there is not",
      { type: "Bpe" },
      'its model type must be one of BPE, Unigram, WordPiece, WordLevel, got "Bpe"',
    ],
    ["no type", { type: undefined }, "its model type must be one of BPE, Unigram, WordPiece, WordLevel, got undefined"],
    ["two tokens of one id", { vocab: { ...llamaLike.model.vocab, odd: 7 } }, "two of its tokens have the same id"],
    ["no merges", { merges: { 0: "a t" } }, "it has no list of merges"],
    ["a merge of three", { merges: ["a t", "a t t"] }, "its merge 1 does not join two tokens into a third"],
    ["a merge of no token", { merges: ["a x"] }, "its merge 0 does not join two tokens into a third"],
    ["a merge to no token", { merges: [["t", "a"]] }, "its merge 0 does not join two tokens into a third"],
    [
      "a suffix that is a number",
      { end_of_word_suffix: 5 },
      "the end_of_word_suffix of its model must be a text, got 5",
    ],
    ["a flag that is a text", { byte_fallback: "no" }, 'byte_fallback of its model must be true or false, got "no"'],
    ["a limit of 0", { max_input_chars_per_word: 0 }, "per_word of its model must be a positive integer, got 0"],
    [
      "an unknown token outside of its list",
      { type: "Unigram", vocab: [["a", -1]], unk_id: 1 },
      "the unk_id of its model must be the index of one of its tokens, got 1",
    ],
    ["a merge with what every record has", { merges: ["to String"] }, "its merge 0 does not join two tokens"],
  ])("refuses a model with %s", async (_, part, message) => {
    const file = { ...llamaLike, model: { ...llamaLike.model, ...part } };
    await expect(readTokenizer(await folderWith(file, config))).rejects.toThrow(message);
  });

  it.each([
    [{ 0: {} }, "its added_tokens is not a valid list of tokens"],
    [[{ id: 0, content: "<unk>" }, []], "its added_tokens is not a valid list of tokens: see entry 1"],
    [[{ id: 0, content: "<unk>", lstrip: 0 }], "its added_tokens is not a valid list of tokens: see entry 0"],
    [[{ id: 9, content: "\ud800" }], 'its token "\\ud800" has an unpaired surrogate'],
    [[{ id: 7, content: "odd" }], 'its added token "odd" has the id 7, which is that of "<0x04>"'],
    [[{ id: 300, content: "cat" }], 'its added token "cat" has the id 300, but elsewhere in the file 264'],
    [
      [
        { id: 300, content: "odd" },
        { id: 300, content: "odder" },
      ],
      'its added token "odder" has the id 300, which is that of "odd"',
    ],
    [
      [
        { id: 300, content: "odd" },
        { id: 301, content: "odd" },
      ],
      'its added token "odd" has the id 301, but elsewhere in the file 300',
    ],
  ])("refuses the added tokens %j", async (added, message) => {
    const reading = readTokenizer(await folderWith({ ...llamaLike, added_tokens: added }, config));
    await expect(reading).rejects.toThrow(message);
  });

  it("refuses what the package fails at, before a text is read", async () => {
    const steps = { type: "TemplateProcessing", single: [{ SpecialToken: 1 }, 7], pair: [], special_tokens: {} };
    const decoder = { type: "Sequence", decoders: [null] };
    for (const part of [{ post_processor: steps }, { decoder }])
      await expect(readTokenizer(await folderWith({ ...llamaLike, ...part }, config))).rejects.toThrow(FileError);
  });

  it("gives no id where a text has neither a token nor an unknown one", async () => {
    const vocab = { "<s>": 0, "</s>": 1, a: 2 };
    const model = { type: "WordPiece", unk_token: "[UNK]", continuing_subword_prefix: "##", vocab };
    const file = { added_tokens: [], normalizer: null, pre_tokenizer: { type: "Whitespace" }, post_processor: null };
    const tokens = { bos_token: "<s>", eos_token: "</s>", pad_token: "<s>" };
    const path = await folderWith({ ...file, decoder: null, model }, tokens);
    const tokenizer = await readTokenizer(path);
    expect(tokenizer.encode("a", 9)).toEqual([0, 2, 1]);
    expect(() => tokenizer.encode("a b", 9)).toThrow("no token for part of a text, and no unknown token");
  });

  it.each([{}, "x", { Regex: 1 }, { String: null }, [[]], undefined])("refuses the pattern %j", async (pattern) => {
    const file = { ...llamaLike, normalizer: { type: "Replace", pattern, content: "" } };
    await expect(readTokenizer(await folderWith(file, config))).rejects.toThrow(/neither \{ "String": text \} nor/);
  });

  const doubled = { type: "Replace", pattern: { String: "a" }, content: "aa" };
  it.each([
    [{ normalizer: { type: "Sequence" } }, 'the sequence in its normalizer has no list "normalizers"'],
    [{ pre_tokenizer: { type: "Sequence", normalizers: [] } }, 'has no list "pretokenizers"'],
    [{ normalizer: { ...doubled, content: null } }, "the content of one of its replacements must be a text, got null"],
    [
      { decoder: { type: "Sequence", decoders: Array(17).fill(doubled) } },
      "the replacements in its decoder may make a text more than 65536 times as long",
    ],
  ])("refuses what the package would misread or never end, %#", async (part, message) => {
    await expect(readTokenizer(await folderWith({ ...llamaLike, ...part }, config))).rejects.toThrow(message);
  });

  it("takes replacements that lengthen a text within reason", async () => {
    const normalizer = { type: "Sequence", normalizers: Array(16).fill(doubled) };
    const { encode } = await readTokenizer(await folderWith({ ...llamaLike, normalizer }, config));
    expect(encode("x", 9).length).toBeGreaterThan(2);
  });

  it("ends a pattern that takes for ever, wherever it stands", async () => {
    const endless = { Regex: "(a+)+$" };
    const normalizer = { type: "Replace", pattern: endless, content: "" };
    const pre_tokenizer = { type: "Split", pattern: endless, behavior: "Isolated", invert: false };
    for (const part of [{ normalizer }, { pre_tokenizer }]) {
      const tokenizer = await readTokenizer(await folderWith({ ...llamaLike, ...part }, config));
      expect(tokenizer.encode("cat", 9).length).toBeGreaterThan(2);
      expect(() => tokenizer.encode(`${"a".repeat(60)}b`, 9)).toThrow(/one of its patterns takes more than 2 seconds/);
    }
  }, 20_000);
});
