import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandom, shuffled } from "../../data/index.ts";

const take = (n: number, ...keys: [number, ...number[]]) => {
  const random = seededRandom(...keys);
  return Array.from({ length: n }, random);
};

describe("random streams", () => {
  it("give the same numbers for the same keys, on every machine", () => {
    expect(take(3, 7, 1, 2)).toEqual(take(3, 7, 1, 2));
    expect(take(2, 7)).toMatchInlineSnapshot(`
      [
        0.9894166514254478,
        0.5750932822691491,
      ]
    `);
  });

  it("differ for keys that differ in any place, length or high bits", () => {
    const keys: [number, ...number[]][] = [[0], [1], [0, 0], [0, 1], [1, 0], [2 ** 32], [2 ** 33], [0, 2 ** 32]];
    expect(new Set(keys.map((key) => take(1, ...key)[0])).size).toBe(keys.length);
  });

  it("are uniform: mean, variance and neighbouring streams", () => {
    const values = take(20_000, 3);
    const mean = values.reduce((a, b) => a + b) / values.length;
    const variance = values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length;
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.01); // 5 standard errors
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(0.003);
    const firsts = Array.from({ length: 20_000 }, (_, i) => take(1, 3, i)[0]!);
    expect(Math.abs(firsts.reduce((a, b) => a + b) / firsts.length - 0.5)).toBeLessThan(0.01);
    const pairs = firsts.slice(1).reduce((sum, v, i) => sum + (v - 0.5) * (firsts[i]! - 0.5), 0) / firsts.length;
    expect(Math.abs(pairs)).toBeLessThan(0.003);
  });

  it("shuffle to a permutation", () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(), (length, seed) => {
        const order = shuffled(length, seededRandom(seed));
        expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length }, (_, i) => i));
      }),
    );
  });
});
