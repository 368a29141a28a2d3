import { describe, expect, test } from "vitest";
import { hostTensor, makeGraph, type Node, nodesOf } from "../../compiler/index.ts";
import {
  adaptiveAverage,
  axis,
  bicubic,
  bilinear,
  configure,
  input,
  interpolatePositions,
  type PatchGrid,
  resizedPositions,
  rootParams,
  rotary,
  trace,
  transpose,
} from "../../dsl/index.ts";
import {
  bundledModels,
  imageToken,
  internvit,
  internvit6b,
  internvlC,
  keepTokens,
  pixelsInput,
  type VisionConfig,
  withImage,
} from "../../models/index.ts";
import { seeded } from "../support/samples.ts";
import { executors, runOnce } from "./executors.ts";
import { anyWeights, difference } from "./support.ts";

const executor = executors[0]!;
const part = (name: string, node: Node) => ({ name, node });
const draw = (length: number, seed: number) => {
  const next = seeded(seed);
  return Float32Array.from({ length }, () => next());
};

describe("dropped image tokens", () => {
  const [batch, token, embed] = [axis("batch", 3), axis("token", 10), axis("embed", 1)];
  const graph = makeGraph("keep", [
    part("kept", keepTokens(rootParams(), input("x", "f32", [batch, token, embed]), 0.5)),
  ]);
  // Each token holds its own number, so that the result tells which ones were kept.
  const x = hostTensor(
    "f32",
    [batch, token, embed] as never,
    Array.from({ length: 30 }, (_, i) => i % 10),
  );

  async function keptOf(keep: Float32Array): Promise<number[][]> {
    const draws = hostTensor("f32", [batch, axis("token", 9)] as never, keep);
    const { kept } = await runOnce(executor, graph, { x, keep: draws }, new Map());
    expect(kept!.axes.map((a) => `${a.name}=${a.size}`)).toEqual(["batch=3", "token=6", "embed=1"]);
    return [0, 1, 2].map((b) => Array.from(kept!.data.subarray(b * 6, b * 6 + 6)));
  }

  test("leave the class token and different patches of each image", async () => {
    const rows = await keptOf(draw(27, 4));
    for (const row of rows) {
      expect(row[0]).toBe(0);
      expect(new Set(row).size).toBe(6);
    }
    expect(new Set(rows.map((r) => [...r].sort().join())).size).toBe(3);
  });

  test("stay distinct when draws are equal", async () => {
    for (const row of await keptOf(new Float32Array(27).fill(0.5))) expect(row).toEqual([0, 1, 2, 3, 4, 5]);
  });

  test("are all there when a model is not trained, and a part that keeps nothing is refused", () => {
    const c: VisionConfig = { ...internvit6b, width: 4, depth: 1, heads: 1, mlp: 4, image: 28 };
    const tokens = (training: boolean) =>
      internvit(rootParams({ training }), pixelsInput(c), c, { keep: 0.5 })
        .at(-1)!
        .type.axes.find((a) => a.name === "token")!.size;
    expect([tokens(false), tokens(true)]).toEqual([5, 3]);
    expect(() => internvit(rootParams({ training: true }), pixelsInput(c), c, { keep: 0.1 })).toThrow(/cannot keep/);
  });
});

describe("positions", () => {
  test.each([
    [4, 6],
    [5, 3],
    [1, 4],
    [3, 3],
    [4, [6, 2]],
    [
      [2, 5],
      [7, 3],
    ],
    [[3, 4], 5],
  ] as const)("of a %j grid become those of a %j grid, in a graph and on the host alike", async (from, to) => {
    const count = (grid: PatchGrid) => (typeof grid === "number" ? grid ** 2 : grid[0] * grid[1]);
    const [token, embed] = [axis("token", count(from)), axis("embed", 3)];
    const x = draw((count(from) + 1) * 3, 8);
    const graph = makeGraph("positions", [
      part(
        "y",
        transpose(interpolatePositions(input("x", "f32", [token, embed]), from, to), [axis("token", count(to)), embed]),
      ),
    ]);
    const feeds = { x: hostTensor("f32", [token, embed] as never, x.subarray(3)) };
    const { y } = await runOnce(executor, graph, feeds, new Map());
    const host = resizedPositions(x, from, to);
    expect(difference(host.subarray(3), y!.data)).toBeLessThan(1e-6);
    expect(host.subarray(0, 3)).toEqual(x.subarray(0, 3));
    if (from === to) expect(host).toEqual(x);
  });

  test.each([
    ["bilinear", bilinear],
    ["bicubic", bicubic],
    ["adaptiveAverage", adaptiveAverage],
  ] as const)("are mixed by %s weights that add up to 1", (_, weights) => {
    for (const [from, to] of [
      [7, 3],
      [3, 7],
      [1, 2],
      [4, 4],
    ] as const) {
      const all = weights(from, to);
      for (let i = 0; i < to; i++) {
        const row = all.slice(i * from, (i + 1) * from);
        expect(row.reduce((a, b) => a + b)).toBeCloseTo(1, 12);
      }
    }
  });
});

describe("an image in a conversation", () => {
  test("stands where its token is, in every row at another place or not at all", async () => {
    const c = { ...bundledModels.find((m) => m.name === "internvl-chat-vicuna-7b")!.config };
    const text = { ...(c.text as never as Parameters<typeof withImage>[3]), width: 2, heads: 1, vocab: 4 };
    const [batch, token] = [axis("batch", 3), axis("token", 5)];
    const visual = input("visual", "f32", [batch, axis("visual", 2), axis("embed", 2)]);
    const graph = makeGraph("place", [
      part(
        "x",
        transpose(withImage(rootParams(), visual, input("ids", "i32", [batch, token]), text), [
          batch,
          token,
          axis("embed", 2),
        ]),
      ),
    ]);
    const ids = [1, imageToken, imageToken, 2, 0, imageToken, imageToken, 3, 0, 0, 1, 2, 3, 2, 1];
    const feeds = {
      visual: hostTensor("f32", visual.type.axes as never, [10, 11, 20, 21, 30, 31, 40, 41, 50, 51, 60, 61]),
      ids: hostTensor("i32", [batch, token] as never, ids),
    };
    const weights = anyWeights(graph, 1);
    weights.set(
      "model.embed_tokens.weight",
      hostTensor("f32", [axis("vocab", 4), axis("embed", 2)] as never, [0, 0, 1, 1, 2, 2, 3, 3]),
    );
    const { x } = await runOnce(executor, graph, feeds, weights);
    const firsts = Array.from({ length: 15 }, (_, i) => x!.data[2 * i]);
    expect(firsts).toEqual([1, 10, 20, 2, 0, 30, 40, 3, 0, 0, 1, 2, 3, 2, 1]);
  });
});

describe("configurations that nobody tried", () => {
  test.each([
    ["one head", { vision: { heads: 1, width: 7 }, text: { heads: 1, width: 6 } }],
    ["three layers", { vision: { depth: 3 }, text: { depth: 3 } }],
    ["one token of text", { text: { context: 1 } }],
    ["a picture of one patch", { vision: { image: 4, patch: 4 } }],
    ["a vocabulary of two", { text: { vocab: 2 } }],
    ["biases and another base", { text: { attentionBias: true, rotaryBase: 500 } }],
  ])("trace and run: %s", async (_, changes) => {
    const small = {
      vision: { width: 8, depth: 1, heads: 2, mlp: 5, image: 8, patch: 4 },
      text: { width: 8, depth: 1, heads: 2, mlp: 5, vocab: 9, context: 4 },
      embed: 6,
      poolingHeads: 1,
    };
    const merged = configure({ ...internvlC, config: configure(internvlC, small as never) }, changes as never);
    const graph = trace(internvlC, merged);
    const { image, text } = { image: merged.vision.image, text: merged.text.context };
    const feeds = {
      pixels: hostTensor(
        "f32",
        [axis("batch", 2), axis("channel", 3), axis("row", image), axis("column", image)] as never,
        draw(6 * image ** 2, 2),
      ),
      ids: hostTensor("i32", [axis("batch", 2), axis("token", text)] as never, new Array(2 * text).fill(1)),
    };
    const got = await runOnce(executor, graph, feeds, anyWeights(graph, 3));
    for (const name of ["image", "text"])
      for (const row of [0, 1]) {
        const vector = got[name]!.data.subarray(row * 6, row * 6 + 6);
        expect(Math.hypot(...vector)).toBeCloseTo(1, 9);
      }
  });

  test("that cannot be are refused with the axis named", () => {
    const odd = () =>
      rotary(
        input("q", "f32", [axis("token", 2), axis("head_dim", 3)]),
        input("at", "i32", [axis("token", 2)]),
        axis("head_dim", 3),
      );
    expect(odd).toThrow(/axis "head_dim" has 3 elements: make it even/);
    const small = { width: 8, depth: 2, heads: 2, mlp: 5, image: 8, patch: 4 };
    const use = (name: string, changes: object) => () => {
      const model = bundledModels.find((m) => m.name === name)!;
      return trace(model, configure(model, changes as never));
    };
    expect(use("internvl-c", { vision: { ...small, positions: 6 } })).toThrow(
      /positions 6 is not divisible by the patch size, 4/,
    );
    expect(use("internvl-c", { vision: small, poolingHeads: 3 })).toThrow(
      /width 8 is not divisible by 3 pooling heads/,
    );
    expect(use("internvl-chat-vicuna-7b", { vision: small })).toThrow(/features -4: InternViT has 2 blocks/);
    expect(use("internvit-6b-upernet", { vision: small })).toThrow(/blocks \[12, 24, 36, 48\]: InternViT has 2 blocks/);
    expect(use("qllama-8b", { crossEvery: 0 })).toThrow(/crossEvery is 0; expected/);
    expect(() => trace(internvlC, { vision: { heads: 7 } as never })).toThrow(/width 3200 is not divisible by 7 heads/);
    expect(() => trace(internvlC, { vision: { patch: 15 } as never })).toThrow(
      /image 224 is not divisible by the patch size, 15/,
    );
  });

  test("drop branches by a rate that is uniform, or rises with depth", () => {
    const rates = (rule: string) => {
      const c: VisionConfig = {
        ...internvit6b,
        width: 4,
        depth: 3,
        heads: 1,
        mlp: 4,
        image: 14,
        dropPath: 0.4,
        dropPathRule: rule,
      };
      const graph = makeGraph("drop", [
        part("y", internvit(rootParams({ training: true }), pixelsInput(c), c).at(-1)!),
      ]);
      const random = nodesOf(graph).filter((n) => n.op === "random");
      return random.map((n) => Number((1 - (n.attrs.dist as { p: number }).p).toFixed(6))).sort();
    };
    expect(rates("uniform")).toEqual([0.4, 0.4, 0.4, 0.4, 0.4, 0.4]);
    expect(rates("linear")).toEqual([0.2, 0.2, 0.4, 0.4]);
  });
});
