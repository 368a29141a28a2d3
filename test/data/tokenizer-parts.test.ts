/**
 * Parts of a tokenizer.json, beside what Hugging Face's Rust library makes of them:
 * scripts/reference/tokenizer_parts.py made the fixture. What `@huggingface/tokenizers` computes otherwise is rewritten
 * before it sees it.
 */
import { readFileSync } from "node:fs";
import { Tokenizer as Hub } from "@huggingface/tokenizers";
import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { rewriteParts } from "../../data/tokenizer-parts.ts";

interface Fixture {
  readonly texts: readonly string[];
  readonly pre_tokenizers: readonly { readonly part: object; readonly pieces: readonly (readonly string[])[] }[];
  readonly normalizers: readonly { readonly part: object; readonly texts: readonly string[] }[];
  readonly pieces: readonly (readonly string[])[];
  readonly decoders: readonly { readonly part: object; readonly texts: readonly string[] }[];
}
const fixture: Fixture = JSON.parse(readFileSync(new URL("../fixtures/tokenizer-parts.json", import.meta.url), "utf8"));

/** The used part of the package's class; its own declarations do not resolve under Node's module rules. */
interface Parts {
  readonly pre_tokenizer: (text: string, options: { readonly section_index: number }) => readonly string[];
  readonly normalizer: (text: string) => string;
  readonly decoder: (pieces: readonly string[]) => string;
}

const empty = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [] };
const model = { type: "WordLevel", vocab: { "<unk>": 0 }, unk_token: "<unk>" };
const rewritten = (part: object): object => rewriteParts("x.json", { ...empty, model, ...part });
const partsOf = (part: object) => new Hub(rewritten(part), {}) as unknown as Parts;

describe("rewriteParts", () => {
  it.each(fixture.pre_tokenizers)("splits as the Rust library with %j", ({ part, pieces }) => {
    const { pre_tokenizer } = partsOf({ pre_tokenizer: part });
    expect(fixture.texts.map((text) => pre_tokenizer(text, { section_index: 0 }))).toEqual(pieces);
  });

  it.each(fixture.normalizers)("normalizes as the Rust library with %j", ({ part, texts }) => {
    expect(fixture.texts.map(partsOf({ normalizer: part }).normalizer)).toEqual(texts);
  });

  it.each(fixture.decoders)("decodes as the Rust library with %j", ({ part, texts }) => {
    expect(fixture.pieces.map(partsOf({ decoder: part }).decoder)).toEqual(texts);
  });

  const pattern = { String: "-" };
  it("splits a long text without a match in one pass", () => {
    const long = "猫a ".repeat(100_000);
    for (const behavior of ["MergedWithPrevious", "MergedWithNext", "Contiguous"]) {
      const { pre_tokenizer } = partsOf({ pre_tokenizer: { type: "Split", pattern, behavior, invert: false } });
      expect(pre_tokenizer(long, { section_index: 0 })).toEqual([long]);
    }
  });

  it.each([
    [
      { type: "Split", pattern, behavior: "removed", invert: false },
      'the behavior of its "Split" must be one of Removed, Isolated, MergedWithPrevious, MergedWithNext, Contiguous, got "removed"',
    ],
    [{ type: "Split", pattern, invert: false }, 'the behavior of its "Split" must be one of'],
    [{ type: "Split", pattern, behavior: "Removed" }, 'the invert of its "Split" must be true or false, got undefined'],
    [{ type: "Split", pattern, behavior: "toString", invert: true }, 'got "toString"'],
    [{ type: "Punctuation", behavior: 1 }, 'the behavior of its "Punctuation" must be one of'],
    [{ type: "Digits" }, 'the individual_digits of its "Digits" must be true or false'],
    [{ type: "FixedLength", length: 0 }, 'the length of its "FixedLength" must be a positive integer, got 0'],
    [{ type: "Metaspace", replacement: "▁", prepend_scheme: "x" }, "must be one of first, never, always"],
    [
      { type: "Metaspace", replacement: "▁", add_prefix_space: false },
      'the prepend_scheme of its "Metaspace" must be one of never, got undefined',
    ],
    [{ type: "Metaspace", replacement: 5 }, 'the replacement of its "Metaspace" must be a text, got 5'],
    [{ type: "Metaspace", replacement: "▁", split: "no" }, 'the split of its "Metaspace" must be true or false'],
  ])("refuses %j", (part, message) => {
    const inSequence = { type: "Sequence", pretokenizers: [part] };
    for (const pre_tokenizer of [part, inSequence]) {
      expect(() => rewritten({ pre_tokenizer })).toThrow(FileError);
      expect(() => rewritten({ pre_tokenizer })).toThrow(message);
    }
  });
});
