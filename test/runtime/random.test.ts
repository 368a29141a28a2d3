import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Distribution, UsageError } from "../../compiler/index.ts";
import { drawingThreads } from "../../runtime/host/node-host.ts";
import { fillRandom, randomStream } from "../../runtime/index.ts";
import { normalProbability, normalQuantile } from "../../runtime/random/normal-quantile.ts";
import { philox4x32 } from "../../runtime/random/philox.ts";
import { encode } from "../../runtime/safetensors/stored-dtype.ts";

const distributions: readonly Distribution[] = [
  { kind: "normal", mean: 1, std: 2 },
  { kind: "truncated_normal", mean: 0.5, std: 0.5, low: -0.5, high: 1.5 },
  { kind: "uniform", low: -3, high: 5 },
  { kind: "constant", value: 0.1 },
  { kind: "bernoulli", p: 0.25 },
];

describe("philox4x32", () => {
  // Random123 1.14.0, tests/kat_vectors, the rows "philox4x32 10".
  it.each([
    ["00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
    ["ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"],
    ["243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"],
  ])("gives the published block for counter %s, key %s", (counter, key, block) => {
    const words = (text: string) => Uint32Array.from(text.split(" "), (word) => Number.parseInt(word, 16));
    const out = new Uint32Array(4);
    philox4x32(words(counter), words(key), out);
    expect(out).toEqual(words(block));
  });
});

describe("fillRandom", () => {
  it("stays what it is: a change here changes every seeded run", () => {
    const first = (d: Distribution) => [...fillRandom(d, [4], 7, "vit.block0.attn.q")];
    expect(distributions.map(first)).toMatchInlineSnapshot(`
      [
        [
          1.0676770210266113,
          -0.2396346926689148,
          1.1091042757034302,
          2.8341856002807617,
        ],
        [
          0.9389225840568542,
          0.8323992490768433,
          0.6908217668533325,
          0.16644246876239777,
        ],
        [
          3.5981030464172363,
          3.0694422721862793,
          2.2457799911499023,
          -1.075648307800293,
        ],
        [
          0.10000000149011612,
          0.10000000149011612,
          0.10000000149011612,
          0.10000000149011612,
        ],
        [
          0,
          0,
          0,
          1,
        ],
      ]
    `);
  });

  it("is addressed by counter: any range equals that part of the whole", () => {
    const whole = new Map(distributions.map((d) => [d, fillRandom(d, [9000], 3, "w", 5)]));
    const property = (d: Distribution, start: number, count: number) => {
      const part = randomStream(3, "w").fill(d, Math.min(count, 9000 - start), 5, start);
      expect(part).toEqual(whole.get(d)!.slice(start, start + count));
    };
    fc.assert(fc.property(fc.constantFrom(...distributions), fc.nat(8999), fc.nat(6000), property), { numRuns: 60 });
  });

  it("differs by seed, stream, step and between names and numbers", () => {
    const unit: Distribution = { kind: "uniform", low: 0, high: 1 };
    const addresses: [number, string | number, number][] = [
      [0, 0, 0],
      [0, 0, 1],
      [0, 1, 0],
      [1, 0, 0],
      [2 ** 32, 0, 0],
      [0, 2 ** 32, 0],
      [0, "", 0],
      [0, "0", 0],
      [0, "a", 0],
      [0, "a\u0080", 0],
      [0, "a long name of more than sixteen bytes", 0],
      [0, "a long name of more than sixteen bytes.", 0],
    ];
    const firsts = addresses.map(([seed, stream, step]) => fillRandom(unit, [2], seed, stream, step).join());
    expect(new Set(firsts).size).toBe(addresses.length);
  });

  it.each(distributions)("has the moments of $kind", (d) => {
    const count = 200_000;
    const values = fillRandom(d, [count], 11, "moments");
    const mean = values.reduce((sum, x) => sum + x, 0) / count;
    const std = Math.sqrt(values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / count);
    // The standard normal cut at ±2 has the standard deviation 0.8796.
    const expected = {
      normal: [1, 2],
      truncated_normal: [0.5, 0.5 * 0.87962566],
      uniform: [1, 8 / Math.sqrt(12)],
      constant: [Math.fround(0.1), 0],
      bernoulli: [0.25, Math.sqrt(0.25 * 0.75)],
    }[d.kind];
    expect(Math.abs(mean - expected[0]!)).toBeLessThan(0.01);
    expect(Math.abs(std - expected[1]!)).toBeLessThan(0.01);
  });

  it("follows the normal distribution function (Kolmogorov and Smirnov)", () => {
    const values = fillRandom({ kind: "normal", mean: 0, std: 1 }, [20_000], 1, "ks").sort();
    const gaps = Array.from(values, (x, i) => Math.abs(normalProbability(x) - (i + 0.5) / values.length));
    expect(Math.max(...gaps)).toBeLessThan(1.63 / Math.sqrt(values.length)); // 1 in 100 by chance, and the seed is fixed
  });

  it("keeps its bounds, also where f32 is coarse and far out in a tail", () => {
    const uniform = fillRandom({ kind: "uniform", low: 1e6, high: 1e6 + 0.0625 * 3 }, [1000], 1, "u");
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(1e6);
    expect(Math.max(...uniform)).toBeLessThan(1e6 + 0.0625 * 3);
    for (const [low, high] of [
      [6, 7],
      [-7, -6],
      [20, 21],
      [-1, 30],
    ] as const) {
      const tail = fillRandom({ kind: "truncated_normal", mean: 0, std: 1, low, high }, [1000], 1, "t");
      expect(Math.min(...tail)).toBeGreaterThanOrEqual(low);
      expect(Math.max(...tail)).toBeLessThanOrEqual(high);
      expect(new Set(tail).size).toBeGreaterThan(900);
    }
  });

  it.each<[Distribution, RegExp]>([
    [{ kind: "normal", mean: 0, std: -1 }, /normal\(mean=0, std=-1\) is not a valid distribution: its std is negative/],
    [{ kind: "normal", mean: Number.NaN, std: 1 }, /its mean is not a finite number/],
    [{ kind: "uniform", low: 1, high: 1 }, /low is not below high/],
    [{ kind: "bernoulli", p: 1.5 }, /p is not in \[0, 1\]/],
    [{ kind: "truncated_normal", mean: 0, std: 1, low: 50, high: 60 }, /no value between low and high/],
  ])("refuses %j", (distribution, message) => {
    expect(() => fillRandom(distribution, [1], 0, "x")).toThrow(UsageError);
    expect(() => fillRandom(distribution, [1], 0, "x")).toThrow(message);
  });

  it.each([
    () => randomStream(-1, "x"),
    () => randomStream(0.5, "x"),
    () => randomStream(0, -3),
    () => randomStream(0, "x").uniform(0, 2 ** 32),
    () => randomStream(0, "x").uniform(-1),
    () => randomStream(0, "x").integer(0, 0),
  ])("refuses an address that is none: %s", (draw) => {
    expect(draw).toThrow(UsageError);
  });
});

describe("randomStream", () => {
  const stream = randomStream(5, "s");

  it("draws single values that equal those of a fill", () => {
    const uniform = stream.fill({ kind: "uniform", low: 0, high: 1 }, 10, 2);
    const normal = stream.fill({ kind: "normal", mean: 0, std: 1 }, 10, 2);
    expect(Array.from({ length: 10 }, (_, i) => stream.uniform(i, 2))).toEqual([...uniform]);
    expect(Array.from({ length: 10 }, (_, i) => stream.normal(9 - i, 2)).reverse()).toEqual([...normal]);
    expect(Math.abs(stream.truncatedNormal(0, -0.5, 0.5))).toBeLessThanOrEqual(0.5);
  });

  it("draws whole numbers of a range evenly", () => {
    const counts = new Uint32Array(7);
    for (let i = 0; i < 70_000; i++) counts[stream.integer(i, 7)]!++;
    for (const count of counts) expect(Math.abs(count - 10_000)).toBeLessThan(400);
  });

  it("shuffles into permutations that differ by step", () => {
    fc.assert(
      fc.property(fc.nat(300), fc.nat(1000), (count, step) => {
        const permutation = stream.permutation(count, step);
        expect([...permutation].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
      }),
    );
    expect(stream.permutation(20, 0)).not.toEqual(stream.permutation(20, 1));
    expect(stream.shuffle(["a", "b", "c"], 4).sort()).toEqual(["a", "b", "c"]);
  });

  it("puts each item everywhere equally often", () => {
    const counts = new Uint32Array(9);
    for (let step = 0; step < 9000; step++) {
      stream.permutation(3, step).forEach((item, place) => {
        counts[item * 3 + place]!++;
      });
    }
    for (const count of counts) expect(Math.abs(count - 3000)).toBeLessThan(200);
  });
});

describe("drawing threads", () => {
  it("give what fillRandom gives, as stored bytes, whatever their number", async () => {
    const distribution: Distribution = { kind: "truncated_normal", mean: 0, std: 1, low: -2, high: 2 };
    const count = 2 ** 21 + 5;
    const want = fillRandom(distribution, [count], 3, "w");
    for (const threads of [drawingThreads(1), drawingThreads(3)]) {
      const bytes = Buffer.concat(
        await Array.fromAsync(threads.draw({ distribution, seed: 3, stream: "w", count, dtype: "F32" })),
      );
      expect(Buffer.compare(bytes, Buffer.from(want.buffer))).toBe(0);
      await threads.dispose();
    }
  });

  it.each([
    { kind: "truncated_normal", mean: 0, std: 0.02, low: -0.04, high: 0.04 },
    { kind: "truncated_normal", mean: 0.3, std: 1, low: 1, high: 9 },
    { kind: "uniform", low: -0.01, high: 0.02 },
    { kind: "normal", mean: 0, std: 1 },
  ] satisfies Distribution[])("draw bfloat16 that is f32 rounded: %j", async (distribution) => {
    const count = 2 ** 20 + 9;
    const want = encode("BF16", fillRandom(distribution, [count], 1, "half"));
    const threads = drawingThreads(2);
    const draw = { distribution, seed: 1, stream: "half", count, dtype: "BF16" } as const;
    const bytes = Buffer.concat(await Array.fromAsync(threads.draw(draw)));
    await threads.dispose();
    expect(Buffer.compare(bytes, want)).toBe(0);
  });

  it("name a value that the dtype cannot hold", async () => {
    const threads = drawingThreads(2);
    const draw = threads.draw({
      distribution: { kind: "constant", value: 1e6 },
      seed: 0,
      stream: "w",
      count: 4,
      dtype: "F16",
    });
    await expect(draw.next()).rejects.toThrow(/1000000 is outside the range of f16/);
    await threads.dispose();
  });
});

describe("normalQuantile", () => {
  // Python 3.11, statistics.NormalDist().inv_cdf.
  it.each([
    [0.5, 0],
    [0.9, 1.2815515655446008],
    [0.025, -1.9599639845400538],
    [1e-10, -6.361340902404056],
    [1e-100, -21.27345356096532],
  ])("gives the published value at %d", (p, x) => {
    expect(normalQuantile(p)).toBeCloseTo(x, 12);
  });

  it("is the inverse of the distribution function", () => {
    for (let x = -37; x <= 0; x += 0.0625)
      expect(Math.abs(normalQuantile(normalProbability(x)) - x)).toBeLessThan(1e-11);
  });
});
