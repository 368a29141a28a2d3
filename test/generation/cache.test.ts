/** The cache changes nothing but the time that a token takes. */
import { describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type Graph, type HostTensor, hostTensor, inputName, makeGraph, ops } from "../../compiler/index.ts";
import { defineModel, trace } from "../../dsl/index.ts";
import { prefill } from "../../models/index.ts";
import { cachedSession, createSession, deviceModel, generate, type Scores } from "../../runtime/index.ts";
import { difference } from "../models/support.ts";
import { counting, generationFixture, parametersOf, sessionOn, stepGraph, weights } from "./support.ts";

const { text } = generationFixture.facts;
const whole: Graph = trace(defineModel({ name: "llama", summary: "", config: text, build: (p, c) => prefill(p, c) }));

const ints = (axes: readonly [string, number][], values: readonly number[]): HostTensor =>
  hostTensor(
    "i32",
    axes.map(([name, size]) => ({ name, size })),
    [...values],
  );

/** Scores after a text, read from its beginning at once. */
async function fromTheBeginning(ids: readonly number[]): Promise<ArrayLike<number>> {
  const session = await createSession(referenceBackend(), whole, weights);
  const all = [
    ["batch", 1],
    ["token", ids.length],
  ] as const;
  const { logits } = await session.run({
    input_ids: ints(all as never, ids),
    position_ids: ints(
      all as never,
      ids.map((_, i) => i),
    ),
    attention_mask: ints(
      [
        ["batch", 1],
        ["key_token", ids.length],
      ],
      ids.map(() => 1),
    ),
  });
  return logits!.data;
}

const rowOf = (scores: Scores, row: number) => scores.subarray(row * text.vocab, (row + 1) * text.vocab);

/** Ids of a text of any length; 0 and 2 are tokens like others here. */
const ids = (length: number, seed: number) => Array.from({ length }, (_, i) => (i * i * 7 + i * seed + 3) % text.vocab);

describe("cached decoding", () => {
  it("scores as the whole text read again, token by token, in rows of different lengths", async () => {
    const session = sessionOn(referenceBackend(), 2);
    const texts = [ids(6, 1), ids(3, 2)];
    let scores = await session.step(texts);
    for (let i = 0; i < 5; i++) {
      for (const [row, own] of texts.entries())
        expect(difference(rowOf(scores, row), await fromTheBeginning(own))).toBeLessThan(1e-6);
      const next = [[5 + i], [9 - i]];
      for (const [row, [token]] of next.entries()) texts[row]!.push(token!);
      scores = await session.step(next);
    }
  });

  it("takes several tokens in the middle, in rows of different numbers", async () => {
    const session = sessionOn(referenceBackend(), 2);
    await session.step([ids(2, 1), ids(5, 2)]);
    const scores = await session.step([ids(18, 3), ids(4, 4)]);
    expect(difference(rowOf(scores, 0), await fromTheBeginning([...ids(2, 1), ...ids(18, 3)]))).toBeLessThan(1e-6);
    expect(difference(rowOf(scores, 1), await fromTheBeginning([...ids(5, 2), ...ids(4, 4)]))).toBeLessThan(1e-6);
    expect(session.length).toBe(5 + 18);
  });

  it("reads a text that takes several steps, and grows when it is full", async () => {
    const session = sessionOn(referenceBackend(), 1, 8);
    const start = ids(5, 3);
    await session.step([start]);
    const more = ids(135, 4);
    expect(difference(await session.step([more]), await fromTheBeginning([...start, ...more]))).toBeLessThan(1e-6);
    expect(difference(await session.step([[7]]), await fromTheBeginning([...start, ...more, 7]))).toBeLessThan(1e-6);
  });

  it("goes on from other rows after a reordering", async () => {
    const session = sessionOn(referenceBackend(), 3);
    const texts = [ids(4, 1), ids(6, 2), ids(2, 3)];
    await session.step(texts);
    await session.reorder([1, 1, 0]);
    const scores = await session.step([[3], [4], [5]]);
    for (const [row, from, token] of [
      [0, 1, 3],
      [1, 1, 4],
      [2, 0, 5],
    ] as const)
      expect(difference(rowOf(scores, row), await fromTheBeginning([...texts[from]!, token]))).toBeLessThan(1e-6);
  });

  it("forgets when it is told to", async () => {
    const session = sessionOn(referenceBackend(), 1);
    await session.step([ids(9, 5)]);
    session.clear();
    expect(difference(await session.step([ids(4, 6)]), await fromTheBeginning(ids(4, 6)))).toBeLessThan(1e-6);
  });

  it("compiles one graph for steps of every length and caches of every size", async () => {
    const { backend, compiled } = counting(referenceBackend());
    const session = sessionOn(backend, 1, 16);
    await session.step([ids(5, 1)]);
    for (let i = 0; i < 30; i++) await session.step([ids(1 + (i % 3), i)]);
    expect(session.length).toBe(5 + 60);
    expect(compiled).toEqual(["llama-step.step"]);
  });

  it("refuses a decoder that uses what is remembered otherwise", async () => {
    const counted = stepGraph.inputs.find((n) => inputName(n) === "past_key_values.0.key")!;
    const total = ops.reduceSum(
      counted,
      counted.type.axes.map((a) => a.name),
    );
    const logits = stepGraph.outputs.find((o) => o.name === "logits")!.node;
    const outputs = stepGraph.outputs.map((o) => (o.name === "logits" ? { ...o, node: ops.add(logits, total) } : o));
    const step = makeGraph("summing", outputs, stepGraph.inputs);
    const session = cachedSession(deviceModel(referenceBackend(), parametersOf(weights)), step, { rows: 1 });
    await expect(session.step([[1]])).rejects.toThrow(
      'graph @summing cannot decode over a cache: past_key_values.N.key and .value must each be followed by the new tokens in one concat, and "past_key_values.0.key" is also read whole',
    );
  });

  it("refuses steps that fit no text", async () => {
    const session = sessionOn(referenceBackend(), 2);
    await expect(session.step([[1]])).rejects.toThrow("expected tokens for 2 rows, got 1");
    await expect(session.step([[1], []])).rejects.toThrow("at least one token for each row");
  });
});

describe("generate", () => {
  const strategy = { kind: "greedy" } as const;

  it("tells tokens as they are written, and stops when it is told to", async () => {
    const stop = new AbortController();
    const told: number[] = [];
    const onToken = (_: number, token: number) => {
      told.push(token);
      if (told.length === 3) stop.abort();
    };
    const options = { strategy, eos: [], maxNewTokens: 20, onToken, signal: stop.signal };
    const [made] = await generate(sessionOn(referenceBackend(), 1), { ids: [[1, 5]] }, options);
    expect(made).toEqual({ tokens: told, ended: "stopped" });
    expect(told).toHaveLength(3);
  });

  it("draws the same from the same seed, and else from another", async () => {
    const draw = async (seed: number, temperature: number) => {
      const options = { strategy: { kind: "sample", temperature, seed } as const, eos: [], maxNewTokens: 12 };
      return (
        await generate(
          sessionOn(referenceBackend(), 2),
          {
            ids: [
              [1, 5],
              [1, 5],
            ],
          },
          options,
        )
      ).map((g) => g.tokens);
    };
    const [one, again, other] = [await draw(7, 1.5), await draw(7, 1.5), await draw(8, 1.5)];
    expect(again).toEqual(one);
    expect(other).not.toEqual(one);
    expect(one[0]).not.toEqual(one[1]); // rows draw apart
    const greedy = await generate(
      sessionOn(referenceBackend(), 1),
      { ids: [[1, 5]] },
      { strategy, eos: [], maxNewTokens: 12 },
    );
    expect((await draw(9, 1e-4))[0]).toEqual(greedy[0]!.tokens);
  });

  it.each([
    [{ strategy, maxNewTokens: 0 }, "the maximum number of new tokens must be"],
    [{ strategy, maxNewTokens: 3, minNewTokens: 4 }, "the minimum number of new tokens must be"],
    [{ strategy: { kind: "beam", beams: 3 } as const, maxNewTokens: 3 }, "not divisible by 3 beams"],
    [{ strategy: { kind: "beam", beams: 2, lengthPenalty: Number.NaN } as const, maxNewTokens: 3 }, "length penalty"],
    [
      { strategy: { kind: "sample", seed: 1, temperature: 0 } as const, maxNewTokens: 3 },
      "the temperature must be above 0",
    ],
    [{ strategy: { kind: "sample", seed: 1, topK: 0 } as const, maxNewTokens: 3 }, "top-k"],
    [{ strategy: { kind: "sample", seed: 1, topP: 0 } as const, maxNewTokens: 3 }, "top-p"],
  ])("refuses %j", async (options, message) => {
    const session = sessionOn(referenceBackend(), 2);
    await expect(generate(session, { ids: [[1], [1]] }, { eos: [], ...options })).rejects.toThrow(message);
  });

  it("says so when the scores are not numbers", async () => {
    const session = sessionOn(referenceBackend(), 1);
    const scores = new Float32Array(text.vocab).fill(Number.NaN);
    await expect(generate(session, { scores }, { strategy, eos: [], maxNewTokens: 2 })).rejects.toThrow("diverged");
  });
});
