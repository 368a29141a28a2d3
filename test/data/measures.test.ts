/**
 * Measures of evaluations against scikit-learn and pycocoevalcap; evaluation.py and caption-words.py in
 * scripts/reference made the numbers.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  aligned,
  captionScores,
  captionWords,
  logisticRegression,
  mmeScore,
  mmeVerdict,
  neighbourScores,
  normalizedAnswer,
  popeVerdict,
  saysNeither,
  topClasses,
  vqaAccuracy,
  yesNoMeasures,
} from "../../data/index.ts";

const fixture = (name: string) => JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), "utf8"));
const reference = fixture("evaluation.json");
const cut = fixture("caption-words.json");

describe("classes", () => {
  it("are ranked as scikit-learn ranks them", () => {
    const { scores, labels, top1, top5, meanPerClass } = reference.classes;
    const count = topClasses(8);
    for (const [i, label] of labels.entries()) count.add(scores[i], label);
    const found = count.measures();
    expect(found.top1).toBeCloseTo(top1, 12);
    expect(found.top5).toBeCloseTo(top5, 12);
    expect(found.meanPerClass).toBeCloseTo(meanPerClass, 12);
  });

  it("that tie with the right one count as before it", () => {
    const count = topClasses(3);
    count.add([1, 1, 1], 0);
    expect(count.measures()).toEqual({ top1: 0, meanPerClass: 0 });
  });

  it("are refused where a label is none of them, or nothing was added", () => {
    expect(() => topClasses(3).add([1, 2, 3], 3)).toThrow("label 3 is out of range for 3 classes");
    expect(() => topClasses(2).add([1, Number.NaN], 0)).toThrow("the score of class 1 is NaN");
    expect(() => topClasses(3).measures()).toThrow("there are no samples");
  });
});

it("yes and no are measured as scikit-learn measures two classes", () => {
  const { right, said, ...want } = reference.yesNo;
  for (const [name, value] of Object.entries(yesNoMeasures(said, right))) expect(value).toBeCloseTo(want[name], 12);
});

describe("verdicts", () => {
  it.each([
    ["Yes, there is a cat.", "yes", "yes"],
    ["No, there is not.", "no", "no"],
    ["There is no cat.", "no", undefined],
    ["It is a cat. There is no dog.", "yes", undefined], // POPE: the first sentence, and yes where nothing denies
    ["none of them", "yes", "no"], // MME: four characters
    ["  YES", "yes", "yes"],
    ["I do not know", "no", undefined],
    ["a cat", "yes", undefined],
  ])("of %j by the rules of POPE and MME", (answer, byPope, byMme) => {
    expect(popeVerdict(answer)).toBe(byPope);
    expect(mmeVerdict(answer)).toBe(byMme);
  });

  it("tell what says neither", () => {
    expect(["Yes.", "not at all", "a cat", "north"].map(saysNeither)).toEqual([false, false, true, true]);
  });
});

describe("VQA accuracy", () => {
  /** By the sentence of the paper: the mean over all nine of the ten. */
  const plain = (answer: string, people: readonly string[]) => {
    let sum = 0;
    for (let left = 0; left < people.length; left += 1)
      sum += Math.min(1, people.filter((one, i) => i !== left && one === answer).length / 3);
    return sum / people.length;
  };
  it.each([0, 1, 2, 3, 4, 9, 10])("of an answer that %d of ten people gave", (times) => {
    const people = Array.from({ length: 10 }, (_, i) => (i < times ? "cat" : "dog"));
    expect(vqaAccuracy("cat", people)).toBeCloseTo(plain("cat", people), 12);
  });

  // What processPunctuation and processDigitArticle of vqaEval.py give.
  it.each([
    ["The two dogs!", "2 dogs"],
    ["a  red-and-blue bus", "red and blue bus"],
    ["10,000", "10000"],
    ["10,000 (ten) cars/trucks", "10000 10 carstrucks"],
    ["3.5 miles.", "3.5 miles"],
    ["U.S.A.", "usa"],
    ["dont know?", "don't know"],
    ["yes,\nit is", "yes it is"],
    ["none", "0"],
    ["t-shirt", "t shirt"],
    ["constructor", "constructor"],
  ])("takes %j as %j", (text, normalized) => {
    expect(normalizedAnswer(text)).toBe(normalized);
  });

  it("of an article alone is that of the letter, not of every article", () => {
    const accuracies = ["A", "a.", "the", "", "?"].map((said) => vqaAccuracy(said, Array(10).fill("a")));
    expect(accuracies).toEqual([1, 1, 0, 0, 0]);
  });

  it("of one answer is to the letter", () => {
    expect([vqaAccuracy("A cat.", ["cat"]), vqaAccuracy("cats", ["cat"])]).toEqual([1, 0]);
    expect(() => vqaAccuracy("cat", [])).toThrow("needs at least one reference answer");
  });
});

it("MME counts questions, and pictures of which both are right", () => {
  const answers = [
    ["a", "yes", "yes"],
    ["a", "no", "no"],
    ["b", "yes", "yes"],
    ["b", "no", "yes"],
    ["c", "yes", undefined],
    ["c", "no", "no"],
  ] as const;
  const score = mmeScore(answers.map(([picture, right, said]) => ({ picture, right, said })));
  expect(score.accuracy).toBeCloseTo(4 / 6, 12);
  expect(score.accuracyPlus).toBeCloseTo(1 / 3, 12);
  expect(score.score).toBeCloseTo(100, 12);
});

const shares = (scores: readonly number[]) => scores.map((v) => v / scores.reduce((a, b) => a + b, 0));
const embeddings = (rows: readonly (readonly number[])[]) => ({
  data: Float32Array.from(rows.flatMap((row) => row.map((v) => v / Math.hypot(...row)))),
  width: rows[0]!.length,
});

describe("frozen features", () => {
  it.each([
    [3, reference.probe],
    [2, reference.binaryProbe],
  ])("of %i classes are told apart by logistic regression as scikit-learn does", (classes, probe) => {
    const { features, labels, c, test, probabilities } = probe;
    const data = { data: Float64Array.from(features.flat()), width: features[0].length };
    const model = logisticRegression(data, labels, { classes, c, tolerance: 1e-10 });
    for (const [i, row] of test.entries()) {
      const found = shares(Array.from(model.scores(row), Math.exp));
      for (const [k, p] of found.entries()) expect(Math.abs(p - probabilities[i][k])).toBeLessThan(1e-6);
    }
    expect(() => logisticRegression(data, [5, ...labels.slice(1)], { classes, c })).toThrow("label 5 is out of range");
  });

  it("are told apart by their nearest neighbours as scikit-learn does", () => {
    const { known, labels, queries, k, temperature, probabilities } = reference.neighbours;
    const options = { classes: 3, k, temperature };
    for (const i of queries.keys()) {
      const scores = neighbourScores(embeddings(queries), i, embeddings(known), labels, options);
      for (const [c, p] of shares([...scores]).entries()) expect(Math.abs(p - probabilities[i][c])).toBeLessThan(1e-4);
    }
  });
});

describe("captions", () => {
  it("are scored by BLEU and CIDEr-D as coco-caption scores them", () => {
    const { samples, bleu, cider } = reference.captions;
    const found = captionScores(samples);
    for (const [i, name] of (["bleu1", "bleu2", "bleu3", "bleu4"] as const).entries())
      expect(Math.abs(found[name] - bleu[i])).toBeLessThan(1e-9);
    expect(Math.abs(found.cider - cider)).toBeLessThan(1e-9);
  });

  it.each<[string, string]>([...cut.words, ["", ""]])("are cut into words: %j", (text, words) => {
    expect(captionWords(text).join(" ")).toBe(words);
  });

  it("are cut and scored as coco-caption does", () => {
    const found = captionScores(cut.samples);
    for (const [i, name] of (["bleu1", "bleu2", "bleu3", "bleu4"] as const).entries())
      expect(Math.abs(found[name] - cut.bleu[i])).toBeLessThan(1e-9);
    expect(Math.abs(found.cider - cut.cider)).toBeLessThan(1e-9);
  });

  it("of one word, or none, are scored", () => {
    const samples = [
      { candidate: "", references: ["a cat"] },
      { candidate: "dog", references: ["dog"] },
    ];
    for (const score of Object.values(captionScores(samples))) expect(Number.isFinite(score)).toBe(true);
    expect(() => captionScores([])).toThrow("no captions");
  });

  it("share all words that they can, in runs", () => {
    const runs = (a: string, b: string) => aligned(a.split(" "), b.split(" "));
    expect(runs("the cat sat on the mat", "on the mat sat the cat")).toEqual({ matches: 6, chunks: 3 });
    expect(runs("a b a b", "b a b c")).toEqual({ matches: 3, chunks: 1 });
    expect(runs("x", "y")).toEqual({ matches: 0, chunks: 0 });
    // 10 P R / (R + 9 P) with P = 3/4, R = 3/3, one chunk of three words.
    const { meteorExact } = captionScores([{ candidate: "a b c d", references: ["x y", "a b c"] }]);
    expect(meteorExact).toBeCloseTo(((10 * 0.75) / (1 + 9 * 0.75)) * (1 - 0.5 / 27), 12);
  });
});
