import { describe, expect, test } from "vitest";
import { difference, largestDifference } from "../../bench/agreement.ts";
import { cases } from "../../bench/cases.ts";
import { printReport } from "../../bench/print.ts";
import { reportCase } from "../../bench/report.ts";
import { quantile, spread } from "../../bench/statistics.ts";
import type { Measurement } from "../../bench/subject.ts";

describe("quantiles", () => {
  test("lie between neighbours", () => {
    expect(spread([4, 1, 3, 2])).toEqual({ median: 2.5, low: 1.75, high: 3.25 });
    expect(spread([7])).toEqual({ median: 7, low: 7, high: 7 });
  });

  test("are no number where nothing was measured", () => {
    expect(quantile([], 0.5)).toBeNaN();
  });
});

describe("agreement", () => {
  test("is measured in units of the largest value", () => {
    expect(difference(Float32Array.of(1, 99), Float32Array.of(0, 100))).toBeCloseTo(0.01);
    expect(difference(Float32Array.of(0, 0), Float32Array.of(0, 0))).toBe(0);
  });

  test("is none for another length, another number of outputs, or NaN", () => {
    const one = Float32Array.of(1);
    for (const other of [Float32Array.of(1, 1), Float32Array.of(Number.NaN)]) {
      expect(difference(other, one)).toBe(Number.POSITIVE_INFINITY);
    }
    expect(largestDifference([one], [one, one])).toBe(Number.POSITIVE_INFINITY);
  });
});

const measurement = (ms: number): Measurement => ({
  firstRunMs: 10 * ms,
  timesMs: [ms, ms, 2 * ms],
  cpuMs: [ms, ms, ms],
  otherLoad: 0.2,
  outputs: [Float32Array.of(1)],
  processMs: 20 * ms,
  peakRssBytes: 5e7,
  drivers: [],
});

const block = cases.find((c) => c.name === "block")!;
const failure = "ended with status 1: it is not installed";

const report = reportCase(block, [
  { contender: "heddle", measurements: [measurement(10), measurement(20)], difference: 0 },
  { contender: "jax-js", measurements: [measurement(20), measurement(60)], difference: 1e-6 },
  { contender: "onnxruntime webgpu", measurements: [], difference: 0, failure },
]);

const text = printReport({
  environment: {
    date: "2026-01-01T00:00:00.000Z",
    system: "linux x64",
    processor: "a processor",
    cores: 2,
    memoryBytes: 8e9,
    loadBefore: 0,
    versions: { heddle: "0.1.0" },
    variables: {},
  },
  rounds: 2,
  cases: [report],
});

describe("a report", () => {
  test("compares contenders round by round", () => {
    const [heddle, jax] = report.contenders;
    expect(heddle).toMatchObject({ timesHeddle: { median: 1 }, repetitions: 6, wallMs: { median: 20 } });
    expect(jax).toMatchObject({ timesHeddle: { median: 2.5, low: 2.25, high: 2.75 }, firstRunMs: 400 });
  });

  test("gives no figure to a contender that did not run, and says why", () => {
    expect(report.contenders[2]).toEqual({ contender: "onnxruntime webgpu", failure });
    expect(text).toContain(`onnxruntime webgpu: no figures, ${failure}`);
  });

  test("counts operations from the declared model", () => {
    // 24 · batch · tokens · width² in the linear maps and 4 · batch · tokens² · width in attention
    expect(report.flops).toBe(24 * 8 * 65 * 256 ** 2 + 4 * 8 * 65 ** 2 * 256);
    const step = cases.find((c) => c.name === "train-vit")!.flops!();
    const [linear, attention] = [24 * 16 * 65 * 128 ** 2, 4 * 16 * 65 ** 2 * 128];
    expect(step).toBe(3 * (4 * (linear + attention) + 2 * 16 * 64 * 48 * 128 + 2 * 16 * 128 * 10));
  });

  test("says when other programs were at work", () => {
    expect(text).toContain("DISTURBED: other programs took up to 20% of all cores");
  });
});
