/** Frozen weights in f16 and int8: what is computed with them, by every executor, and what a run writes of them. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  type HostTensor,
  hostTensor,
  inputName,
  isParameter,
  memoryOf,
} from "../../compiler/index.ts";
import {
  axis,
  constantRate,
  cosine,
  crossEntropy,
  defineStage,
  type FrozenDType,
  gather,
  gelu,
  input,
  type LossResult,
  linear,
  mean,
  normal,
  type Params,
  type Stage,
  symbol,
  type Tensor,
  trainingStep,
} from "../../dsl/index.ts";
import { type TrainingJob, train } from "../../runtime/index.ts";
import { initialValue } from "../../runtime/training/state.ts";
import { gpuTest } from "../support/adapter.ts";
import { halfKernels } from "../support/half-kernels.ts";
import { excess, seeded } from "../support/samples.ts";

const batch = axis("batch", symbol("batch"));
const [vocab, embed, hidden, kind] = [axis("vocab", 61), axis("embed", 45), axis("hidden", 67), axis("kind", 5)];

/** A learned layer below two frozen ones, whose gradient passes through both; the table is frozen and below all. */
function loss(p: Params): LossResult {
  const ids = input("ids", "i32", [batch]);
  const x = gather(p.parameter("table", [vocab, embed], normal(1)), ids, vocab) as Tensor<"batch" | "embed">;
  const a = linear(p.scope("learned"), x, [embed], [embed]);
  const b = gelu(linear(p.scope("frozen.up"), a as Tensor<"batch" | "embed">, [embed], [hidden]));
  const c = linear(p.scope("frozen.down"), b as Tensor<"batch" | "hidden">, [hidden], [embed]);
  const logits = linear(p.scope("head"), c as Tensor<"batch" | "embed">, [embed], [kind]);
  return {
    loss: mean(
      crossEntropy(logits as Tensor<"batch" | "kind">, input("label", "i32", [batch]), kind),
      batch,
    ) as Tensor<never>,
  };
}

const step = (frozen: FrozenDType, changes: Partial<Stage> = {}) =>
  trainingStep(
    defineStage({
      name: "above",
      loss,
      trainable: ["learned.**", "head.**"],
      optimizer: { rate: cosine({ peak: 0.01, steps: 9 }) },
      frozen,
      ...changes,
    }),
  );

const size = 7;
function feeds(at: number): Record<string, HostTensor> {
  const next = seeded(at + 1);
  const of = (most: number) =>
    hostTensor(
      "i32",
      [{ name: "batch", size }],
      Array.from({ length: size }, () => Math.floor(most * next())),
    );
  return { ids: of(61), label: of(5) };
}

/** What the stage was given: numbers of every size, not rounded to anything. */
const given = new Map(step("f32").frozen.map((n) => [inputName(n), initialValue(n, 77)]));
const job = (steps: number, compiled: TrainingJob["step"], changes: Partial<TrainingJob> = {}): TrainingJob => ({
  seed: 5,
  steps,
  sizes: { batch: size },
  checkpointEvery: 2,
  step: compiled,
  initial: async (name) => given.get(name),
  async *batches(cursor) {
    for (let at = (cursor as number | undefined) ?? 0; ; at++) yield { feeds: feeds(at), next: at + 1 };
  },
  ...changes,
});

const root = mkdtempSync(join(tmpdir(), "heddle-frozen-"));
afterAll(() => rmSync(root, { recursive: true }));
const folder = () => mkdtempSync(join(root, "run-"));
const run = (compiled: TrainingJob["step"], backend: Backend, steps = 4, changes: Partial<TrainingJob> = {}) =>
  train(job(steps, compiled, changes), { folder: folder(), backend, note: () => {} });
const learned = (weights: ReadonlyMap<string, HostTensor>) =>
  [...weights].filter(([name]) => !given.has(name)).flatMap(([, t]) => [...t.data]);

/** Halves and integers are off by so much, as parts of what is computed. */
const bounds = { f16: 1e-3, int8: 2e-2 } as const;

describe.each(["f16", "int8"] as const)("frozen weights in %s", (dtype) => {
  it("move losses by no more than they are rounded", async () => {
    const want = await run(step("f32"), referenceBackend());
    const got = await run(step(dtype), referenceBackend());
    const of = (r: typeof want) => r.losses.map((l) => l.loss);
    expect(excess(of(got), of(want), 0, bounds[dtype])).toBeLessThanOrEqual(0);
    expect(of(got)).not.toEqual(of(want));
  });

  it("are written as they were given, to the bit", async () => {
    const { weights } = await run(step(dtype), referenceBackend(), 2);
    for (const [name, value] of given) expect(weights.get(name)).toEqual(value);
  });

  gpuTest("are the same to every executor", async ({ gpu }) => {
    const want = await run(step(dtype), referenceBackend());
    const cpu = await cpuBackend();
    for (const backend of [cpu, webgpuBackend(gpu)]) {
      const got = await run(step(dtype), backend);
      expect(
        excess(
          got.losses.map((l) => l.loss),
          want.losses.map((l) => l.loss),
          2e-6,
          2e-6,
        ),
      ).toBeLessThanOrEqual(0);
      expect(excess(learned(got.weights), learned(want.weights), 1e-5, 1e-5)).toBeLessThanOrEqual(0);
    }
    cpu.dispose();
  });

  it("are near in f16 too, with its kernels", async () => {
    const of = (r: Awaited<ReturnType<typeof run>>) => r.losses.map((l) => l.loss);
    const want = await run(step(dtype), referenceBackend());
    const got = await run(step(dtype, { precision: "f16" }), halfKernels());
    expect(excess(of(got), of(want), 0, 3e-3)).toBeLessThanOrEqual(0);
    expect(of(got)).not.toEqual(of(want));
  });

  it("take that memory on a device and no more, and no gradient", () => {
    const of = (compiled: TrainingJob["step"]) => {
      const program = compileKernels(bindSizes(compiled.graph, { batch: size }), { ...baselineFacts, maxBindings: 12 });
      return memoryOf(program);
    };
    const compiled = step(dtype);
    const [wide, narrow] = [of(step("f32")), of(compiled)];
    const matrices = 61 * 45 + 2 * 45 * 67;
    expect(wide.parameters - narrow.parameters).toBeGreaterThanOrEqual((dtype === "f16" ? 2 : 2.8) * matrices);
    const parameters = compiled.graph.inputs.filter(isParameter);
    expect(parameters.map((n) => n.type.dtype).filter((t) => t === "f32")).toHaveLength(2); // biases
    expect(narrow.activations).toBeLessThanOrEqual(wide.activations); // weights are decoded where they are read
  });
});

describe("what a stage says", () => {
  it("is by default what it computes in", () => {
    const of = (changes: Partial<Stage>) =>
      trainingStep(
        defineStage({ name: "s", loss, trainable: ["head.**"], optimizer: { rate: constantRate(1) }, ...changes }),
      ).frozenAs?.dtype;
    expect([of({}), of({ precision: "f16" }), of({ precision: "f16", frozen: "f32" }), of({ frozen: "int8" })]).toEqual(
      [undefined, "f16", undefined, "int8"],
    );
  });
  it("is a word that it knows", () =>
    expect(() => step("int3" as never)).toThrow(
      'stage "above": the dtype of frozen weights must be one of f32, f16, int8, got "int3"',
    ));
  it("holds for what is resumed", async () => {
    const at = folder();
    const go = (dtype: FrozenDType, steps: number, resume: boolean) =>
      train(job(steps, step(dtype)), { folder: at, backend: referenceBackend(), resume, note: () => {} });
    await go("int8", 2, false);
    await expect(go("f16", 4, true)).rejects.toThrow(
      "the run to resume computes in f32, frozen weights in int8, but the job in f32, frozen weights in f16: resume",
    );
    const [whole, resumed] = [await run(step("int8"), referenceBackend()), await go("int8", 4, true)];
    expect(excess(learned(resumed.weights), learned(whole.weights), 1e-6, 1e-6)).toBeLessThanOrEqual(0);
  });
  it("is refused for a weight that f16 does not hold, by its name", async () => {
    const initial = async (name: string) => {
      const value = given.get(name);
      return name === "table"
        ? hostTensor(
            "f32",
            value!.axes,
            value!.data.map((x, i) => (i === 3 ? 7e4 : x)),
          )
        : value;
    };
    await expect(run(step("f16"), referenceBackend(), 1, { initial })).rejects.toThrow(
      'the frozen weight "table" has the value 70000, which is outside the range of f16',
    );
  });
});
