/** The learned tokenizer: a tokenizer.json that other code reads, lossless on any text. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { learnedTokenizerConfig, learnTokenizer, tokenizerFrom } from "../../data/index.ts";

const learn = (texts: readonly string[], size: number) =>
  tokenizerFrom("learned", learnTokenizer(texts, size), learnedTokenizerConfig);

test("frequent words become one token, and all texts come back as they were", () => {
  const texts = ["red heart", "red apple", "green heart", "قلب أحمر", "红心", "corazón rojo"];
  const tokenizer = learn([...texts, ...texts, ...texts], 330);
  expect([tokenizer.pad, tokenizer.bos, tokenizer.eos]).toEqual([0, 1, 2]);
  expect(tokenizer.encode(" heart", 10)).toHaveLength(3);
  for (const text of texts) expect(tokenizer.decode(tokenizer.encode(text, 100))).toBe(text);
});

test("any text is encoded without loss, seen or not", () => {
  const tokenizer = learn(["one", "two", "one two"], 270);
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 40 }), (text) => {
      expect(tokenizer.decode(tokenizer.encode(text, 400))).toBe(text);
    }),
    { seed: 5, numRuns: 200 },
  );
});

test("the most frequent pair is merged first, and learning ends where no pair repeats", () => {
  const json = learnTokenizer(["abab", "abab", "cd"], 1000) as { model: { merges: string[] } };
  expect(json.model.merges).toEqual(["a b", "ab ab"]);
});

test("a vocabulary too small for the bytes is refused", () => {
  expect(() => learnTokenizer(["a"], 200)).toThrow(/at least 259/);
});
