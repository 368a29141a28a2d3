/** What the loop does ahead and behind: batches, random numbers, and the time that is lost all the same. */
import { describe, expect, it } from "vitest";
import { axis, bernoulli, constantRate, defineStage, input, mean, mul, trainingStep } from "../../dsl/index.ts";
import { fillRandom } from "../../runtime/random/streams.ts";
import { ahead } from "../../runtime/training/ahead.ts";
import { idleClock, lostText } from "../../runtime/training/lost-time.ts";
import { randomFeeds } from "../../runtime/training/random-feeds.ts";

describe("ahead", () => {
  /** Counts up, telling what it made; ends or fails at a number. */
  async function* counted(made: number[], end: { readonly at: number; readonly error?: Error }) {
    try {
      for (let i = 0; ; i++) {
        if (i === end.at) {
          if (end.error) throw end.error;
          return;
        }
        made.push(i);
        yield i;
      }
    } finally {
      made.push(-1);
    }
  }
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it("makes so many before they are asked for, and no more than are wanted in all", async () => {
    const made: number[] = [];
    const seen: unknown[] = [];
    for await (const i of ahead(counted(made, { at: 100 }), 2, 5)) {
      await turn();
      seen.push([i, made.length]);
    }
    expect(seen).toEqual([
      [0, 3],
      [1, 4],
      [2, 5],
      [3, 5],
      [4, 5],
    ]);
    expect(made).toEqual([0, 1, 2, 3, 4, -1]); // closed, and never asked for a sixth
  });

  it("ends where the values end", async () => {
    expect(await Array.fromAsync(ahead(counted([], { at: 3 }), 2, 100))).toEqual([0, 1, 2]);
    expect(await Array.fromAsync(ahead(counted([], { at: 0 }), 4, 100))).toEqual([]);
  });

  it("tells an error behind the values before it, and none that nobody comes to", async () => {
    const seen: number[] = [];
    const failing = (at: number) => counted([], { at, error: new Error("unreadable") });
    const all = async () => {
      for await (const i of ahead(failing(3), 2, 100)) {
        await turn();
        seen.push(i);
      }
    };
    await expect(all()).rejects.toThrow("unreadable");
    expect(seen).toEqual([0, 1, 2]);
    for await (const i of ahead(failing(2), 3, 100)) {
      await turn(); // the error is there by now
      if (i === 1) break;
    }
  });

  it("closes the values where it is left", async () => {
    const made: number[] = [];
    for await (const i of ahead(counted(made, { at: 100 }), 2, 100)) if (i === 1) break;
    expect(made.at(-1)).toBe(-1);
  });
});

describe("random feeds", () => {
  it.each([5, 300])("are those of their micro-batch, in whatever order they are asked for: width %i", async (size) => {
    const rows = 400; // 2,000 numbers are drawn here, 120,000 in a thread
    const [batch, width] = [axis("batch", rows), axis("width", size)];
    const step = trainingStep(
      defineStage({
        name: "noisy",
        loss: (p) => {
          const x = mul(input("x", "f32", [batch, width]), p.parameter("w", [width], { kind: "constant", value: 1 }));
          return { loss: mean(mul(x, p.bernoulli("noise", [batch, width], 0.5)), [batch, width]) };
        },
        optimizer: { rate: constantRate(0.1) },
      }),
    );
    const random = randomFeeds({ step, seed: 9, sizes: {} });
    for (const index of [0, 1, 2, 7, 3, 3]) {
      const feeds = await random.of(index);
      const [name, noise] = Object.entries(feeds)[0]!;
      expect(Object.keys(feeds)).toHaveLength(1);
      expect(noise.data).toEqual(fillRandom(bernoulli(0.5), [rows, size], 9, name, index));
    }
    await random.dispose();
  });
});

describe("time lost", () => {
  it("is what passes while no run is under way, by what the loop does meanwhile", () => {
    let time = 100;
    const clock = idleClock(() => time);
    const passes = (ms: number) => {
      time += ms;
    };
    clock.turnsTo("data");
    passes(10); // lost to data
    clock.turnsTo("readBack");
    clock.begins();
    clock.turnsTo("data");
    passes(50); // a run is under way
    clock.begins();
    clock.ends();
    passes(20);
    clock.ends();
    passes(5); // lost to data
    clock.turnsTo("readBack");
    passes(7); // lost to read-backs
    clock.turnsTo("saving");
    passes(8);
    expect(clock.lost()).toEqual({ data: 0.15, readBack: 0.07 });
    expect(lostText(clock.lost())).toBe("time lost: 15.0 % waiting for data, 7.0 % reading back results");
  });
});
