/** Parameters in several arenas train as in one, and are saved and resumed the same. */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { type HostTensor, hostTensor, layoutArenas, type SizedAxis } from "../../compiler/index.ts";
import { axis, constantRate, defineStage, input, linear, mean, mul, trainingStep } from "../../dsl/index.ts";
import { type TrainingJob, train } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { seeded } from "../support/samples.ts";

const [batch, embed, hidden, label] = [axis("batch", 4), axis("embed", 9), axis("hidden", 21), axis("label", 3)];

const stage = defineStage({
  name: "squares",
  loss: (p) => {
    const x = input("x", "f32", [batch, embed]);
    const y = linear(p.scope("b"), linear(p.scope("a"), x, [embed], [hidden]), [hidden], [label]);
    return { loss: mean(mean(mul(y, y), label), batch) as never };
  },
  // A norm over all arenas, and settings that differ within them.
  optimizer: {
    rate: constantRate(0.05),
    clip: 0.1,
    weightDecay: 0.3,
    rateScale: (name) => (name === "b.weight" ? 2 : 1),
  },
});

function job(steps: number, largestArena?: number): TrainingJob {
  const next = seeded(3);
  const data = Array.from({ length: 36 }, () => next() - 0.5);
  const x = hostTensor("f32", [batch, embed] as SizedAxis[], data);
  return {
    seed: 5,
    steps,
    sizes: {},
    checkpointEvery: 100,
    step: trainingStep(stage, largestArena),
    batches: async function* () {
      for (;;) yield { feeds: { x }, next: 0 };
    },
  };
}

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "arenas-"));
});
afterEach(async () => await rm(folder, { recursive: true }));

type Weights = Awaited<ReturnType<typeof train>>["weights"];

/** The largest difference of any element. */
function difference(got: Weights, want: Weights): number {
  expect([...got.keys()].sort()).toEqual([...want.keys()].sort());
  const of = ([name, t]: readonly [string, HostTensor]) =>
    [...t.data].map((v, i) => Math.abs(v - got.get(name)!.data[i]!));
  return Math.max(...[...want].flatMap(of));
}

describe("arenas", () => {
  it("are as few as hold the tensors, a tensor larger than all having its own", () => {
    const type = (size: number) => ({ dtype: "f32" as const, axes: [{ name: "a", size }] });
    const named = [10, 100, 300, 1, 64, 64].map((n, i) => ({ name: String(i), type: type(n) }));
    const places = layoutArenas(named, 192).map((a) => [a.size, ...a.entries.map((e) => [e.name, e.offset])]);
    expect(places).toEqual([
      [192, ["0", 0], ["1", 64]],
      [320, ["2", 0]],
      [192, ["3", 0], ["4", 64], ["5", 128]],
    ]);
  });

  gpuTest("of 192 elements train as one does, and go on from a checkpoint of another layout", async ({ gpu }) => {
    expect(job(1, 192).step.arenas.map((a) => a.parameters)).toEqual(["train.parameters", "train.parameters.1"]);
    const run = async (name: string, steps: number, most?: number, resume = false, backend = referenceBackend()) => {
      const own = join(folder, name);
      await mkdir(own, { recursive: true });
      return await train(job(steps, most), { folder: own, backend, resume, note: () => {} });
    };
    const { weights: want } = await run("one", 4);
    expect(difference((await run("two", 4, 192)).weights, want)).toBeLessThan(1e-12);
    await run("resumed", 2, 192);
    expect(difference((await run("resumed", 4, undefined, true)).weights, want)).toBeLessThan(1e-6); // kept in f32
    expect(difference((await run("gpu", 4, 192, false, webgpuBackend(gpu))).weights, want)).toBeLessThan(1e-5);
  });
});
