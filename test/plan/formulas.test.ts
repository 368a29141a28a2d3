/** The formulas of docs/plan.md, against numbers worked out by hand. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { exchangedBytes } from "../../cli/plan/exchange.ts";
import { largestBatch } from "../../cli/plan/largest-batch.ts";
import { rooflineTime } from "../../cli/plan/roofline.ts";
import { printSeconds } from "../../cli/plan/seconds.ts";
import { needOf } from "../../cli/plan/step-plan.ts";
import { BudgetError, baselineFacts, type PlannedKernel } from "../../compiler/index.ts";

const peaks = { copy: 1000, f32: 100, matrices: 400, dispatch: 0.25 };
const kernel = (changes: Partial<PlannedKernel>): PlannedKernel => ({
  name: "k",
  kind: "contraction",
  schedule: "s",
  onMatrices: false,
  bytesRead: 0,
  bytesWritten: 0,
  flops: 0,
  updates: false,
  ...changes,
});

describe("the roofline", () => {
  it("takes of each kernel what takes longer, and a launch", () => {
    const kernels = [
      kernel({ flops: 300, bytesRead: 500, bytesWritten: 500 }), // 3 s of operations, 1 s of bytes
      kernel({ flops: 300, bytesRead: 700, bytesWritten: 300, onMatrices: true }), // 0.75 s, 1 s
      kernel({ kind: "elementwise", bytesRead: 2000 }), // 2 s
    ];
    const time = rooflineTime({ kernels, copied: 250 }, peaks);
    expect(time).toEqual({ seconds: 3 + 3.5 + 0.75, byOperations: 3, byBytes: 3.5, launches: 0.75 });
  });

  it("multiplies on matrices as in f32 where their rate is not known", () => {
    const { matrices, ...known } = peaks;
    expect(matrices).toBe(400);
    expect(rooflineTime({ kernels: [kernel({ flops: 300, onMatrices: true })], copied: 0 }, known).byOperations).toBe(
      3,
    );
  });
});

it("a ring sends 2 (n - 1) / n of the bytes", () => {
  expect(exchangedBytes({ gradients: 1000 }, 1, 1)).toBe(0);
  expect(exchangedBytes({ gradients: 1000 }, 2, 3)).toBe(1000);
  expect(exchangedBytes({ gradients: 1000 }, 8, 3, "optimizer")).toBe(1750);
  expect(exchangedBytes({ gradients: 1000 }, 8, 3, "gradients")).toBe(3500);
  expect(exchangedBytes({ gradients: 1000, read: 5000, readOnce: 8 }, 8, 3, "weights")).toBe(15757);
});

describe("the largest batch", () => {
  const linear = (fixed: number, each: number) => (batch: number) => ({ bytes: fixed + each * batch });

  it("is exact where memory grows in a straight line, in few plans", () => {
    const found = largestBatch({ need: linear(1000, 7), budget: 2500, most: 65536 });
    expect(found).toEqual({ batch: 214, tooMany: 215, because: "memory", plans: 4 });
  });

  it("is found in few plans where one that keeps the budget takes nearly all of it, or a limit ends it early", () => {
    const keeps = (batch: number) =>
      batch > 1000 ? { refused: "budget", least: 4.1 * batch } : { bytes: Math.min(7 * batch, 4000) };
    expect(largestBatch({ need: keeps, budget: 4100, most: 65536 })).toMatchObject({ batch: 1000, plans: 10 });
    const binds = (batch: number) => (batch > 5000 ? { refused: "binds" } : { bytes: batch });
    expect(largestBatch({ need: binds, budget: 1e6, most: 65536 })).toMatchObject({ batch: 5000, plans: 18 });
  });

  it("is told the least memory of a batch that keeps no budget", () => {
    const refuses = () => {
      throw new BudgetError("too much\nat a line", 7);
    };
    expect(needOf(refuses, baselineFacts)).toEqual({ refused: "too much", least: 7 });
  });

  it("is none, one, and all that is asked for", () => {
    expect(largestBatch({ need: linear(1000, 7), budget: 1006, most: 64 })).toMatchObject({ batch: 0, tooMany: 1 });
    expect(largestBatch({ need: linear(1000, 7), budget: 1007, most: 64 })).toMatchObject({ batch: 1, tooMany: 2 });
    expect(largestBatch({ need: linear(1000, 7), budget: 1e9, most: 100 })).toEqual({ batch: 100, plans: 3 });
    expect(largestBatch({ need: linear(0, 1), budget: 9, most: 1 })).toEqual({ batch: 1, plans: 1 });
  });

  it("says what else ends it", () => {
    const need = (batch: number) => (batch > 77 ? { refused: "a kernel binds too much" } : { bytes: batch });
    expect(largestBatch({ need, budget: 1e6, most: 65536 })).toMatchObject({
      batch: 77,
      tooMany: 78,
      because: "a kernel binds too much",
    });
  });

  it("fits, and the next does not, for whatever grows", () => {
    const growing = fc.array(fc.nat(1000), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(growing, fc.nat(60_000), (steps, budget) => {
        const bytes = steps.map((_, i) => steps.slice(0, i + 1).reduce((a, b) => a + b, 0));
        const need = (batch: number) => ({ bytes: bytes[batch - 1]! });
        const { batch, tooMany } = largestBatch({ need, budget, most: bytes.length, plans: 1000 });
        expect(batch === 0 || bytes[batch - 1]! <= budget).toBe(true);
        if (tooMany === undefined) expect(batch).toBe(bytes.length);
        else {
          expect(tooMany).toBe(batch + 1);
          expect(bytes[batch]).toBeGreaterThan(budget);
        }
      }),
    );
  });

  it("ends after so many plans, with what is known by then", () => {
    const need = (batch: number) => ({ bytes: batch ** 6 });
    const { batch, tooMany, plans } = largestBatch({ need, budget: 5e22, most: 65536, plans: 9 });
    expect(plans).toBeLessThanOrEqual(9);
    expect(batch ** 6).toBeLessThanOrEqual(5e22);
    expect(tooMany! ** 6).toBeGreaterThan(5e22);
  });
});

it.each([
  [3.5e-6, "3.5 µs"],
  [0.0351, "35.1 ms"],
  [1.5, "1500 ms"],
  [119, "119 s"],
  [372, "6.2 minutes"],
  [7200, "2 hours"],
  [1e6, "11.6 days"],
  [0, "0 µs"],
])("%d s is %s", (seconds, text) => {
  expect(printSeconds(seconds)).toBe(text);
});
