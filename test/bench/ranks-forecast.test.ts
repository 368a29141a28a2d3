/** What exchanging costs, and a step of several ranks from those of one and two: from times that are made up. */
import { expect, it } from "vitest";
import { forecast } from "../../bench/ranks-forecast.ts";
import { exchangeCosts } from "../../runtime/index.ts";

it("latency and bandwidth are those of the line through the medians", () => {
  const timed = [1e3, 1e6].flatMap((sent) =>
    [0, 5e-3, 1e-9].map((noise) => ({ sent, seconds: 1e-4 + sent / 1e9 + noise })),
  );
  const { latency, bytesPerSecond } = exchangeCosts(timed);
  expect(latency).toBeCloseTo(1e-4, 8);
  expect(bytesPerSecond).toBeCloseTo(1e9, -1);
});

it("a step is what ranks divide, what each does whole, and what they send", () => {
  const costs = { latency: 1e-4, bytesPerSecond: 1e9 };
  const of = (ranks: number) => {
    const sentBytes = (2 * (ranks - 1) * 1e8) / ranks;
    const exchange = ranks === 1 ? 0 : 0.02 + sentBytes / 1e9;
    return { seconds: 0.3 + 0.8 / ranks + exchange, exchange, sentBytes };
  };
  for (const ranks of [2, 4, 16]) {
    const told = forecast(of(1), of(2), costs, ranks);
    expect(told.seconds).toBeCloseTo(of(ranks).seconds, 10);
    expect(told.exchange).toBeCloseTo(of(ranks).exchange, 10);
  }
  const [alone, shared] = [1, 2].map((perCore) => forecast(of(1), of(2), costs, 4, perCore).seconds);
  expect(shared).toBeCloseTo(2 * alone!, 10);
  // Times that ranks disturbed give no step of less than nothing.
  const { seconds } = forecast({ ...of(1), seconds: 0.01 }, { ...of(2), seconds: 0.2, exchange: 0.2 }, costs, 4);
  expect(seconds).toBeGreaterThan(0);
  expect(() => forecast({ ...of(1), seconds: 0 }, of(2), costs, 4)).toThrow("time more with --steps");
});
