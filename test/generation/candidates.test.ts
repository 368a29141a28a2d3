/** Next tokens that are found on the device: the same as from all scores, for one submission and some bytes a token. */
import { describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { hostTensor, makeGraph, ops } from "../../compiler/index.ts";
import { candidateOutputs, candidatesOf } from "../../runtime/generation/candidate-graphs.ts";
import { rankedCandidates } from "../../runtime/generation/ranked-rows.ts";
import { largest, logSumExp } from "../../runtime/generation/scores.ts";
import { type CachedSession, createSession, type GenerateOptions, generate } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { seeded } from "../support/samples.ts";
import { sessionOn } from "./support.ts";

/** Candidates of scores [batch, vocab], found on a device. */
async function found(backend: Backend, scores: readonly (readonly number[])[], count: number) {
  const axes = [
    { name: "batch", size: scores.length },
    { name: "vocab", size: scores[0]!.length },
  ];
  const graph = makeGraph("rank", candidatesOf(ops.input("scores", "f32", axes), count));
  const session = await createSession(backend, graph, new Map());
  const made = await session.run({ scores: hostTensor("f32", axes, scores.flat()) });
  session.dispose();
  const { tokens, scores: values, total } = candidateOutputs;
  return { count, tokens: made[tokens]!.data, scores: made[values]!.data, totals: made[total]!.data };
}

async function agrees(backend: Backend): Promise<void> {
  const random = seeded(5);
  // A small vocabulary is searched whole, a large one in parts; rounded scores have ties, within parts and across.
  for (const [vocabulary, count] of [
    [37, 37],
    [4097, 12],
    [5000, 3],
  ] as const) {
    const scores = [9, 1].map((scale) =>
      Array.from({ length: vocabulary }, () => Math.fround(Math.round(scale * 40 * (random() - 0.5)) / 4)),
    );
    const got = await found(backend, scores, count);
    for (const [row, own] of scores.entries()) {
      const want = largest(own, count);
      expect(Array.from(got.tokens).slice(row * count, (row + 1) * count)).toEqual(want);
      expect(Array.from(got.scores).slice(row * count, (row + 1) * count)).toEqual(want.map((i) => own[i]));
      expect(got.totals[row]).toBeCloseTo(logSumExp(Float64Array.from(own)), 4);
    }
  }
}

it("candidates are the largest scores, of equals the first, by the reference", () => agrees(referenceBackend()));

gpuTest("candidates are the largest scores, of equals the first, by kernels", ({ gpu }) => agrees(webgpuBackend(gpu)));

it("scores that are no numbers are an error", async () => {
  const broken = await found(
    referenceBackend(),
    [Array.from({ length: 5000 }, (_, i) => (i === 4000 ? Number.NaN : i))],
    1,
  );
  expect(() => rankedCandidates(broken, [{ barred: [] }], 5000)).toThrow(
    "the model gives a token the score NaN: its weights diverged",
  );
});

/** The session without a way to rank: all scores are read. */
const readingAll = ({ rank: _, ...session }: CachedSession) => session;
const plain = (session: CachedSession) =>
  readingAll({
    rows: session.rows,
    vocabulary: session.vocabulary,
    length: 0,
    limit: Number.POSITIVE_INFINITY,
    begin: (...a) => session.begin(...a),
    encode: (...a) => session.encode(...a),
    clear: () => session.clear(),
    step: (ids) => session.step(ids),
    rank: (...a) => session.rank(...a),
    reorder: (rows) => session.reorder(rows),
    dispose: () => session.dispose(),
  });

const strategies: readonly (readonly [string, number, GenerateOptions["strategy"], number])[] = [
  ["greedy", 2, { kind: "greedy" }, 0],
  ["greedy with a least length", 2, { kind: "greedy" }, 6],
  ["drawn from the likeliest", 2, { kind: "sample", topK: 5, topP: 0.9, temperature: 1.4, seed: 11 }, 3],
  ["by beams", 6, { kind: "beam", beams: 3, lengthPenalty: 0.7 }, 2],
];

describe("tokens are those that all scores give", () => {
  const prompts = [
    [1, 5, 9, 3],
    [1, 7],
  ];
  const written = async (backend: Backend, whole: boolean, index: number) => {
    const [, rows, strategy, minNewTokens] = strategies[index]!;
    const session = sessionOn(backend, rows, 8);
    const options = { strategy, minNewTokens, maxNewTokens: 12, eos: [2] };
    const texts = await generate(whole ? plain(session) : session, { ids: prompts }, options);
    session.dispose();
    return texts;
  };

  it.each(strategies.map(([name], i) => [name, i] as const))("%s, by the reference", async (_, i) => {
    expect(await written(referenceBackend(), false, i)).toEqual(await written(referenceBackend(), true, i));
  });

  gpuTest("all of them, by kernels", async ({ gpu }) => {
    for (const i of strategies.keys())
      expect(await written(webgpuBackend(gpu), false, i)).toEqual(await written(referenceBackend(), true, i));
  });
});

/** Counts submissions and what is mapped of a device, from now on. */
function counted(device: GPUDevice) {
  const counts = { submissions: 0, maps: 0, bytes: 0, groups: 0 };
  const { queue } = device;
  const [submit, create, group] = [queue.submit, device.createBuffer, device.createBindGroup];
  queue.submit = (...args) => {
    counts.submissions++;
    return submit.apply(queue, args);
  };
  device.createBindGroup = (...args) => {
    counts.groups++;
    return group.apply(device, args);
  };
  device.createBuffer = (descriptor) => {
    const buffer = create.call(device, descriptor);
    const map = buffer.mapAsync;
    buffer.mapAsync = (...args) => {
      counts.maps++;
      counts.bytes += buffer.size;
      return map.apply(buffer, args);
    };
    return buffer;
  };
  const stop = () =>
    Object.assign(queue, { submit }) && Object.assign(device, { createBuffer: create, createBindGroup: group });
  return { counts, stop };
}

gpuTest("a token costs one submission and one small read-back, beams that change places too", async ({ gpu }) => {
  const session = sessionOn(webgpuBackend(gpu), 3, 64);
  await session.step([
    [1, 4],
    [1, 4],
    [1, 4],
  ]);
  for (const parents of [undefined, [2, 0, 0]]) {
    await session.rank([5, 6, 7], 6, parents); // compiles, and makes bind groups
    const { counts, stop } = counted(gpu.device);
    const tokens = 3;
    for (let i = 0; i < tokens; i++) await session.rank([5 + i, 6, 7], 6, parents);
    stop();
    // Tokens and scores of six candidates of three rows, and a total of each: whole units of sixteen bytes.
    expect(counts).toEqual({ submissions: tokens, maps: tokens, bytes: tokens * (80 + 80 + 16), groups: 0 });
  }
  session.dispose();
});
