/**
 * How near a kernel comes to what an adapter can do, and why it comes no nearer: all in words that follow from facts.
 */
import { describe, expect, it } from "vitest";
import { type KernelWork, leastTime, printLeast, printRates, ratesOf } from "../../cli/kernel-rates.ts";

const ceilings = { copy: 4000e9, f32: 60e12, matrices: 800e12, dispatch: 4e-6, submission: 30e-6 };
const product: KernelWork = {
  kind: "contraction",
  bytes: 400e6,
  operations: 1.2e12,
  workgroups: 4096,
  onMatrices: true,
};
const rows: KernelWork = { kind: "row_reduction", bytes: 400e6, operations: 0, workgroups: 4096, onMatrices: false };

describe("the least time of a kernel", () => {
  it("is by what it has most of", () => {
    expect(leastTime(product, ceilings)).toEqual({ by: "operations", seconds: 1.5e-3 });
    expect(leastTime({ ...product, onMatrices: false }, ceilings)).toEqual({ by: "operations", seconds: 0.02 });
    expect(leastTime(rows, ceilings)).toEqual({ by: "bytes", seconds: 1e-4 });
    expect(leastTime({ ...rows, bytes: 64 }, ceilings)).toEqual({ by: "dispatch", seconds: 4e-6 });
    expect(printLeast({ by: "operations", seconds: 1.5e-3 })).toBe("takes at least 1500 µs, by its operations");
  });

  it("is not known where a ceiling that decides it is not", () => {
    expect(leastTime(product, { copy: 4000e9, f32: 60e12 })).toBeUndefined();
    expect(leastTime(rows, {})).toBeUndefined();
    expect(leastTime(rows, { copy: 4000e9 })?.by).toBe("bytes");
  });
});

describe("rates", () => {
  it("near the ceiling need no reason", () => {
    const r = ratesOf({ ...rows, waste: 0.5, workgroups: 1 }, 1.1e-4, ceilings, 132);
    expect(r.fraction).toBeCloseTo(0.909, 3);
    expect(printRates(r)).toEqual(["takes 110 µs, 3.6 TB/s: 91 % of the copy rate"]);
  });

  it.each([
    ["the edges", { ...product, waste: 0.24 }, 3e-3, "24 % of its tiles is past the edges"],
    ["few workgroups", { ...product, workgroups: 12 }, 3e-3, "12 workgroups leave 120 of 132 multiprocessors idle"],
    ["the cost of a dispatch", { ...rows, bytes: 64 }, 8e-6, "a dispatch alone takes 4 µs of it"],
    [
      "no matrix units",
      { ...product, onMatrices: false, noMatrices: "an operand is f32" },
      0.05,
      "it multiplies without matrix units: an operand is f32",
    ],
    ["nothing that is known", product, 3e-3, "no known reason but its schedule"],
  ])("far from it have one: %s", (_, work, seconds, reason) => {
    const [first, why] = printRates(ratesOf(work, seconds, ceilings, 132));
    expect(first).toMatch(/: \d+ % of /);
    expect(why).toBe(`why not more: ${reason}`);
  });

  it("have all reasons there are, and none that do not hold", () => {
    const work = { ...product, onMatrices: false, noMatrices: "sums are f16", waste: 0.3, workgroups: 7 };
    expect(ratesOf(work, 0.05, ceilings, 132).why).toHaveLength(3);
    expect(ratesOf(work, 0.05, { ...ceilings, matrices: undefined as never }, 132).why).toHaveLength(2);
    expect(ratesOf(work, 0.05, ceilings).why).toHaveLength(2);
  });

  it("without a ceiling have no share", () => {
    const r = ratesOf(rows, 1e-4, {});
    expect(r).toMatchObject({ bytesPerSecond: 4e12, operationsPerSecond: 0 });
    expect(r.fraction).toBeUndefined();
    expect(printRates(r)[0]).toBe("takes 100 µs, 4.0 TB/s");
  });
});
