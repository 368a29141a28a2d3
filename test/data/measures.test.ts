/** Measures of evaluations against scikit-learn and pycocoevalcap; scripts/reference/evaluation.py made the numbers. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { topClasses, yesNoMeasures } from "../../data/index.ts";

const reference = JSON.parse(readFileSync(new URL("../fixtures/evaluation.json", import.meta.url), "utf8"));

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
    expect(() => topClasses(3).add([1, 2, 3], 3)).toThrow("label 3 is none of the 3 classes");
    expect(() => topClasses(2).add([1, Number.NaN], 0)).toThrow("the score of class 1 is no number");
    expect(() => topClasses(3).measures()).toThrow("there is no picture");
  });
});

it("yes and no are measured as scikit-learn measures two classes", () => {
  const { right, said, ...want } = reference.yesNo;
  for (const [name, value] of Object.entries(yesNoMeasures(said, right))) expect(value).toBeCloseTo(want[name], 12);
});
