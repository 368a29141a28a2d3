import { describe, expect, it } from "vitest";
import { exactAnswers, yesNoMeasures } from "../../data/index.ts";

describe("exact answers", () => {
  it("are those that are the reference to the letter", () => {
    const { exact } = exactAnswers(["cat", "Cat", "cat ", "dog"], ["cat", "cat", "cat", "dog"]);
    expect(exact).toBe(0.5);
  });

  it("stand beside the best that one constant answer could reach, whatever was answered", () => {
    expect(exactAnswers(["x", "x", "x", "x", "x"], ["a", "b", "b", "b", "c"])).toEqual({ exact: 0, mostFrequent: 0.6 });
    expect(exactAnswers(["a", "b"], ["a", "b"])).toEqual({ exact: 1, mostFrequent: 0.5 });
  });

  it("are as many as there are references", () => {
    expect(() => exactAnswers(["a"], [])).toThrow("got 1 answers and 0 references");
    expect(() => exactAnswers([], [])).toThrow("at least");
  });
});

describe("yes and no, as POPE measures them", () => {
  const right = ["yes", "yes", "yes", "yes", "no", "no", "no", "no"] as const;

  it("counts what was found, said and asked", () => {
    // 3 of 4 found, 4 said: precision 3/4, recall 3/4
    expect(yesNoMeasures(["yes", "yes", "yes", "no", "yes", "no", "no", "no"], right)).toEqual({
      accuracy: 0.75,
      precision: 0.75,
      recall: 0.75,
      f1: 0.75,
      yes: 0.5,
    });
    const hasty = yesNoMeasures(["yes", "yes", "yes", "yes", "yes", "yes", "no", "no"], right);
    expect(hasty).toMatchObject({ accuracy: 0.75, recall: 1, yes: 0.75 });
    expect(hasty.precision).toBeCloseTo(2 / 3, 12);
    expect(hasty.f1).toBeCloseTo(0.8, 12);
  });

  it("is worth what guessing is when one answer is given always", () => {
    const always = (a: "yes" | "no") => right.map(() => a);
    expect(yesNoMeasures(always("yes"), right)).toMatchObject({ accuracy: 0.5, recall: 1, precision: 0.5 });
    expect(yesNoMeasures(always("no"), right)).toEqual({ accuracy: 0.5, precision: 0, recall: 0, f1: 0, yes: 0 });
  });

  it("takes an answer that is neither for wrong, and for no yes", () => {
    const measures = yesNoMeasures([undefined, "yes", undefined, "no"], ["yes", "yes", "no", "no"]);
    expect(measures).toEqual({ accuracy: 0.5, precision: 1, recall: 0.5, f1: 2 / 3, yes: 0.25 });
  });

  it("needs one answer for each question", () => {
    expect(() => yesNoMeasures(["yes"], [])).toThrow("at least one, got 1 answers");
  });
});
