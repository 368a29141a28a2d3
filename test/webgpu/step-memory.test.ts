/** What a step of several graphs takes: what is planned, and with a budget no more, is what a device's buffers take. */
import { describe, expect } from "vitest";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { factsOf } from "../../backends/webgpu/runtime/backend.ts";
import { planStep, totalBytes } from "../../cli/plan/step-plan.ts";
import { type HostTensor, hostTensor, inputName, isFeed, type SizedAxis, UsageError } from "../../compiler/index.ts";
import {
  axis,
  constantRate,
  contract,
  crossEntropy,
  defineStage,
  gelu,
  input,
  iota,
  linear,
  mean,
  mul,
  type Params,
  rename,
  symbol,
  type Tensor,
  trainingStep,
} from "../../dsl/index.ts";
import { compilePhases } from "../../runtime/training/phases.ts";
import { writeInitialState } from "../../runtime/training/state.ts";
import { gpuTest } from "../support/adapter.ts";
import { seeded } from "../support/samples.ts";

const rows = 96;
const batch = axis("batch", symbol("batch"));
const width = 16;
const [e, h] = [axis("embed", width), axis("hidden", 64)];

/** Layers whose activations are the larger part of what a step takes. */
function tower(p: Params, name: string) {
  let x = input(name, "f32", [batch, e]) as Tensor<"batch" | "embed">;
  for (let i = 0; i < 3; i++) {
    const wide = gelu(linear(p.scope(`${name}${i}.up`), x, [e], [h]));
    x = linear(p.scope(`${name}${i}.down`), gelu(wide), [h], [e]);
  }
  return x;
}

const losses = {
  "of a mean over samples": (p: Params) => {
    const x = tower(p, "x");
    return mean(mul(x, x), [batch, e]);
  },
  "of pairs, with cached features": (p: Params) => {
    const other = axis("other", batch.size);
    const logits = contract(tower(p, "x"), rename(tower(p, "y"), batch, other), e);
    return mean(crossEntropy(logits, iota(batch), other), batch);
  },
};

const made = (loss: (p: Params) => Tensor<never>) =>
  trainingStep(
    defineStage({
      name: "s",
      loss: (p) => ({ loss: loss(p) }),
      optimizer: { rate: constantRate(1e-3), clip: 1 },
      accumulate: 3,
    }),
  );

describe.each(Object.entries(losses))("an accumulated step %s", (_, loss) => {
  gpuTest("takes what is planned, and no more than a budget", async ({ gpu }) => {
    const step = made(loss as (p: Params) => Tensor<never>);
    const planned = (memory?: number) => planStep({ step, sizes: {} } as never, rows, factsOf(gpu), memory);
    const whole = totalBytes(planned().memory);
    const budget = Math.floor(0.85 * whole);
    const told: number[] = [];
    for (const memory of [undefined, budget]) {
      const plan = totalBytes(planned(memory).memory);
      expect(plan).toBeLessThanOrEqual(memory ?? whole);
      const { held, losses } = await taken(step, memory);
      // Buffers are of whole granules, and sizes of runs are besides.
      expect(held, `${memory}`).toBeGreaterThanOrEqual(plan);
      expect(held, `${memory}`).toBeLessThan(plan + 2048);
      expect(losses).toHaveLength(2);
      told.push(losses[1]!);
    }
    expect(Math.abs(told[1]! - told[0]!)).toBeLessThan(1e-5 * Math.abs(told[0]!));
    expect(() => planned(0.1 * whole)).toThrow(UsageError);

    async function taken(step: ReturnType<typeof made>, memory: number | undefined) {
      const backend = webgpuBackend(gpu, memory === undefined ? {} : { memory });
      const job = { step, sizes: { batch: rows }, seed: 0 } as never;
      const store = backend.createStore();
      await writeInitialState(job, store);
      const phases = await compilePhases(job, backend);
      const next = seeded(5);
      const fed = new Map(
        [step.graph, step.accumulation!.cached?.features]
          .flatMap((g) => g?.inputs.filter(isFeed) ?? [])
          .map((n) => [inputName(n), n]),
      );
      const losses: number[] = [];
      for (let i = 0; i < 6; i++) {
        const feeds: Record<string, HostTensor> = {};
        for (const [name, node] of fed) {
          const axes = node.type.axes.map(
            (a): SizedAxis => ({ name: a.name, size: typeof a.size === "number" ? a.size : rows }),
          );
          feeds[name] = hostTensor(
            "f32",
            axes,
            Array.from({ length: rows * width }, () => next() - 0.5),
          );
        }
        for (const run of phases.runs(store, i % 3, feeds)) {
          const { loss } = await run.start();
          if (loss) losses.push(Number(loss.data[0]));
        }
      }
      const held = [...gpu.memory.heldBytes()]
        .filter(([kind]) => kind !== "staging")
        .reduce((n, [, bytes]) => n + bytes, 0);
      phases.dispose();
      store.dispose();
      await Promise.resolve();
      return { held, losses };
    }
  });
});
