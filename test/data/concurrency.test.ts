import { describe, expect, it } from "vitest";
import { mapLimited, prefetch } from "../../data/index.ts";
import { collect } from "./support.ts";

const tick = () => new Promise((resolve) => setImmediate(resolve));

describe("mapLimited", () => {
  it("keeps order and the limit", async () => {
    let [running, most] = [0, 0];
    const results = await mapLimited([5, 4, 3, 2, 1, 0], 2, async (n) => {
      most = Math.max(most, ++running);
      for (let i = 0; i < n; i += 1) await tick();
      running -= 1;
      return n * 10;
    });
    expect(results).toEqual([50, 40, 30, 20, 10, 0]);
    expect(most).toBe(2);
  });

  it("rejects with the failure and starts nothing after it", async () => {
    const started: number[] = [];
    const work = mapLimited([0, 1, 2, 3, 4, 5], 2, async (n) => {
      started.push(n);
      await tick();
      if (n === 1) throw new Error("second");
    });
    await expect(work).rejects.toThrow("second");
    expect(started.length).toBeLessThan(5);
  });
});

describe("prefetch", () => {
  async function* counting(log: string[], end = 5) {
    try {
      for (let i = 0; i < end; i += 1) {
        log.push(`made ${i}`);
        yield i;
      }
    } finally {
      log.push("closed");
    }
  }

  it("gives every item in order", async () => {
    for (const depth of [1, 2, 7]) expect(await collect(prefetch(counting([]), depth))).toEqual([0, 1, 2, 3, 4]);
  });

  it("reads ahead by its depth and no further", async () => {
    const log: string[] = [];
    const ahead = prefetch(counting(log, 100), 2);
    await ahead.next();
    for (let i = 0; i < 20; i += 1) await tick();
    expect(log).toEqual(["made 0", "made 1", "made 2"]);
    await ahead.return();
  });

  it("closes the source when the consumer stops", async () => {
    const log: string[] = [];
    for await (const value of prefetch(counting(log, 100), 3)) if (value === 2) break;
    expect(log.at(-1)).toBe("closed");
    expect(log.length).toBeLessThan(9);
  });

  it("throws where the source threw, after the items before it", async () => {
    const seen: number[] = [];
    const failing = async function* () {
      yield 1;
      yield 2;
      throw new Error("third");
    };
    const consume = async () => {
      for await (const value of prefetch(failing(), 4)) seen.push(value);
    };
    await expect(consume()).rejects.toThrow("third");
    expect(seen).toEqual([1, 2]);
  });
});
