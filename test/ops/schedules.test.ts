/** Schedules beside their formulas, at every step of a run and after its end. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { makeGraph } from "../../compiler/index.ts";
import {
  constantRate,
  cosine,
  input,
  inSequence,
  linearRate,
  type Schedule,
  steppedRate,
  warmUp,
} from "../../dsl/index.ts";

function ratesOf(schedule: Schedule, steps: number): number[] {
  const node = schedule(input("step", "f32", []));
  const graph = makeGraph("rate", [{ name: "rate", node }]);
  return Array.from({ length: steps }, (_, i) => {
    const values = new Map(graph.inputs.length > 0 ? [["step", Float64Array.of(i)]] : []);
    return evaluate(graph, values).get("rate")!.data[0]!;
  });
}

const half = (i: number, n: number) => (1 + Math.cos((Math.PI * Math.min(i, n)) / n)) / 2;

const cases: Readonly<Record<string, readonly [Schedule, (i: number) => number]>> = {
  constant: [constantRate(0.3), () => 0.3],
  "cosine with warm-up": [
    cosine({ peak: 0.4, steps: 17, warmup: 5, floor: 0.1 }),
    (i) => (i < 5 ? (0.4 * (i + 1)) / 5 : 0.1 + 0.3 * half(i - 5, 12)),
  ],
  linear: [linearRate({ from: 0.5, to: 0.2, steps: 7 }), (i) => 0.5 - (0.3 * Math.min(i, 7)) / 7],
  "linear to 0": [linearRate({ from: 0.5, steps: 7 }), (i) => 0.5 * (1 - Math.min(i, 7) / 7)],
  "warm-up": [warmUp({ peak: 0.5, steps: 4 }), (i) => (0.5 * Math.min(i + 1, 4)) / 4],
  "steps of 3": [steppedRate({ rate: 0.8, factor: 0.5, after: 3 }), (i) => 0.8 * 0.5 ** Math.floor(i / 3)],
  "steps listed": [steppedRate({ rate: 0.8, after: [9, 4] }), (i) => 0.8 * (i >= 9 ? 0.01 : i >= 4 ? 0.1 : 1)],
  "one after another": [
    inSequence(
      { schedule: warmUp({ peak: 0.4, steps: 3 }), steps: 3 },
      { schedule: constantRate(0.4), steps: 4 },
      { schedule: linearRate({ from: 0.4, steps: 5 }) },
    ),
    (i) => (i < 3 ? (0.4 * (i + 1)) / 3 : i < 7 ? 0.4 : 0.4 * (1 - Math.min(i - 7, 5) / 5)),
  ],
  "cosine after warm-up": [
    inSequence({ schedule: warmUp({ peak: 0.4, steps: 5 }), steps: 5 }, { schedule: cosine({ peak: 0.4, steps: 12 }) }),
    (i) => (i < 5 ? (0.4 * (i + 1)) / 5 : 0.4 * half(i - 5, 12)),
  ],
};

describe("schedules", () => {
  it.each(Object.entries(cases))("%s", (_, [schedule, want]) => {
    ratesOf(schedule, 20).forEach((rate, i) => {
      expect(rate, `step ${i}`).toBeCloseTo(want(i), 12);
    });
  });

  it("fall at the same step where a device divides with an error", () => {
    const node = steppedRate({ rate: 0.8, factor: 0.5, after: 3 })(input("step", "f32", []));
    const graph = makeGraph("rate", [{ name: "rate", node }]);
    // As if 9 / 3 were a little less than 3: WGSL allows errors of 2.5 units in the last place.
    const almost = evaluate(graph, new Map([["step", Float64Array.of(9 * (1 - 2 ** -22))]])).get("rate")!.data[0];
    expect(almost).toBeCloseTo(0.1, 12);
  });

  it("are of whole numbers of steps", () => {
    for (const steps of [0, -1, 1.5, Number.NaN])
      expect(() => linearRate({ from: 1, steps })).toThrow(
        `linearRate takes a positive integer number of steps, got ${steps}`,
      );
    expect(() => inSequence({ schedule: constantRate(1) }, { schedule: constantRate(2) })).toThrow(
      "inSequence: each schedule but the last takes a positive integer number of steps",
    );
    expect(() => inSequence()).toThrow("give at least one schedule");
  });
});

it("says what it is, for people", () => {
  const own: Schedule = (step) => step;
  expect(own.text).toBeUndefined();
  const texts = [
    constantRate(0.3),
    cosine({ peak: 0.4, steps: 17, warmup: 5, floor: 0.1 }),
    linearRate({ from: 0.5, steps: 7 }),
    steppedRate({ rate: 0.8, factor: 0.5, after: 3 }),
    steppedRate({ rate: 0.8, after: [9, 4] }),
    inSequence({ schedule: warmUp({ peak: 0.4, steps: 3 }), steps: 3 }, { schedule: own }),
  ].map(({ text }) => text);
  expect(texts).toEqual([
    "constant 0.3",
    "cosine from 0.4 to 0.1 over 17 steps, with 5 warmup steps",
    "linear from 0.5 to 0 over 7 steps",
    "0.8, times 0.5 after every 3 steps",
    "0.8, times 0.1 after 4, 9 steps",
    "linear warmup to 0.4 over 3 steps, then a custom schedule",
  ]);
});
