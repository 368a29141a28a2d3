import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "../../compiler/index.ts";
import { chanceRecall, nearest, recallAt, retrieval, rightRanks } from "../../data/index.ts";

const embeddings = (width: number, ...rows: number[][]) => ({ data: Float32Array.from(rows.flat()), width });

/** Small whole numbers, so that ties are common and sums exact. */
const matrix = (rows: number, width: number) =>
  fc
    .array(fc.integer({ min: -2, max: 2 }), { minLength: rows * width, maxLength: rows * width })
    .map((values) => ({ data: Float32Array.from(values), width }));

const cases = fc
  .record({
    queries: fc.integer({ min: 1, max: 9 }),
    candidates: fc.integer({ min: 1, max: 9 }),
    width: fc.integer({ min: 1, max: 4 }),
  })
  .chain(({ queries, candidates, width }) =>
    fc.record({
      queries: matrix(queries, width),
      candidates: matrix(candidates, width),
      right: fc.array(fc.uniqueArray(fc.nat(candidates - 1), { minLength: 1 }), {
        minLength: queries,
        maxLength: queries,
      }),
    }),
  );

describe("recall", () => {
  it("is what sorting finds when wrong candidates win every tie", () => {
    fc.assert(
      fc.property(cases, fc.integer({ min: 1, max: 10 }), ({ queries, candidates, right }, k) => {
        const { width } = queries;
        const row = (m: { data: Float32Array }, i: number) => m.data.subarray(i * width, (i + 1) * width);
        const hits = right.filter((positives, q) => {
          const all = Array.from({ length: candidates.data.length / width }, (_, c) => ({
            c,
            isRight: positives.includes(c),
            score: row(candidates, c).reduce((sum, v, i) => sum + v * row(queries, q)[i]!, 0),
          }));
          all.sort((a, b) => b.score - a.score || Number(a.isRight) - Number(b.isRight));
          // The other right ones do not count against the best of them.
          const firstRight = all.findIndex(({ isRight }) => isRight);
          return firstRight < k;
        });
        const recall = recallAt(queries, candidates, { ks: [k], positives: (q) => right[q]! });
        expect(recall[`r${k}`]).toBeCloseTo(hits.length / right.length, 12);
      }),
    );
  });

  it("gives nothing to a model that scores everything alike", () => {
    const flat = embeddings(2, ...Array.from({ length: 20 }, () => [1, 0]));
    expect(recallAt(flat, flat)).toEqual({ r1: 0, r5: 0, r10: 0 });
    expect(rightRanks(flat, flat)[3]).toBe(20);
  });

  it("works in both directions, several texts to an image included", () => {
    const images = embeddings(2, [1, 0], [0, 1]);
    const texts = embeddings(2, [0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.8, 0.7]);
    const result = retrieval(texts, images, { ks: [1], positives: (text) => [[0], [1], [1], [1]][text]! });
    expect(result).toEqual({ textToImage: { r1: 0.75 }, imageToText: { r1: 1 } });
    const plain = retrieval(images, images);
    expect(plain.textToImage).toEqual({ r1: 1, r5: 1, r10: 1 });
    expect(plain.imageToText).toEqual(plain.textToImage);
  });

  it("refuses what would be a wrong number", () => {
    const good = embeddings(2, [1, 0], [0, 1]);
    expect(() => recallAt(good, embeddings(2, [1, 0], [0, Number.NaN]))).toThrow(/embedding 1 contains NaN/);
    expect(() => recallAt(good, embeddings(1, [1], [0]))).toThrow(/the same width, got 2 and 1/);
    expect(() => recallAt(good, { data: new Float32Array(3), width: 2 })).toThrow(
      /cannot be split into rows of width 2/,
    );
    expect(() => recallAt(good, { data: new Float32Array(0), width: 2 })).toThrow(UsageError);
    expect(() => recallAt(embeddings(2, [1, 0], [0, 1], [1, 1]), good)).toThrow(
      /candidate 2 as its match, but there are 2 candidates/,
    );
  });
});

describe("chanceRecall", () => {
  it("is k of n for one right candidate, and more for several", () => {
    expect(chanceRecall(1350).r10).toBeCloseTo(10 / 1350, 12);
    expect(chanceRecall(4, [1, 5])).toEqual({ r1: 0.25, r5: 1 });
    expect(chanceRecall(5, [2], 2).r2).toBeCloseTo(1 - (3 * 2) / (5 * 4), 12);
    expect(chanceRecall(5, [2], 5).r2).toBe(1);
  });
});

describe("nearest", () => {
  it("lists the best, equal scores in order", () => {
    const candidates = embeddings(2, [0, 1], [1, 0], [0.5, 0.5], [1, 0]);
    expect(nearest(embeddings(2, [9, 9], [1, 0]), 1, candidates, 3)).toEqual([
      { index: 1, score: 1 },
      { index: 3, score: 1 },
      { index: 2, score: 0.5 },
    ]);
  });
});
