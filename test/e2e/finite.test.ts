/** A run ends before anything is written of a step that went wrong, on every device, the last step included. */
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import type { Backend } from "../../backends/backend.ts";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { hostTensor } from "../../compiler/index.ts";
import {
  add,
  axis,
  constantInit,
  constantRate,
  defineStage,
  div,
  input,
  log,
  lt,
  mean,
  mul,
  type Params,
  type Stage,
  select,
  sqrt,
  state,
  sub,
  sum,
  type Tensor,
  trainingStep,
} from "../../dsl/index.ts";
import { train } from "../../runtime/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { tinyBatch, tinyJob } from "../support/tiny-job.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-finite-"));
afterAll(() => rmSync(root, { recursive: true }));

const width = axis("width", 3);
/** Σ √(w²t²): a number where t is 0, and without a slope there. */
function rooted(p: Params) {
  const w = p.parameter("w", [width], constantInit(0.5));
  const x = mul(w, input("t", "f32", [width]));
  return { loss: sum(sqrt(mul(x, x)), width), x };
}

/** Two steps, the second and last of them on zeros. */
async function run(backend: Backend, changes: Partial<Stage>) {
  const folder = mkdtempSync(join(root, "run-"));
  const stage = defineStage({ name: "rooted", loss: rooted, optimizer: { rate: constantRate(1e-3) }, ...changes });
  const job = tinyJob(2, {
    step: trainingStep(stage),
    checkpointEvery: 1,
    async *batches(cursor) {
      for (let i = ((cursor as number | undefined) ?? 0) + 1; ; i++) {
        const t = i === 1 ? 1 : 0;
        yield { feeds: { t: hostTensor("f32", [{ name: "width", size: 3 }], Float32Array.of(1, t, 1)) }, next: i };
      }
    },
  });
  let message = "";
  await train(job, { folder, backend, note: () => {} }).catch((e: Error) => {
    message = e.message;
  });
  const saved = readdirSync(join(folder, "checkpoints")).filter((n) => n.startsWith("step-"));
  return { message, saved, written: existsSync(join(folder, "model.safetensors")) };
}

type Cause = (backend: Backend) => Promise<void>;

const gradient =
  (optimizer: Stage["optimizer"]): Cause =>
  async (backend) => {
    const { message, saved, written } = await run(backend, { optimizer });
    expect(message).toMatch(/^the gradient of step 2 is not finite \(its norm is NaN, the loss \d\.\d+\): lower the/);
    expect(message).toMatch(/\n {2}the first such value is an infinity in "w" \(div\), in the backward pass$/);
    expect([saved.length, written]).toEqual([1, false]);
  };

const causes: Readonly<Record<string, Cause>> = {
  "a NaN in the gradient of the last step, though the loss is a number": gradient({ rate: constantRate(1e-3) }),
  "the same, clipped": gradient({ rate: constantRate(1e-3), clip: 1 }),
  "a rate that is no number": async (backend) => {
    const rate: Stage["optimizer"]["rate"] = (step) => select(lt(step, 1), 1e-3, div(sub(step, 1), sub(step, 1)));
    const smooth = (p: Params) => ({ loss: sum(rooted(p).x, width) });
    const { message, saved, written } = await run(backend, { loss: smooth, optimizer: { rate } });
    expect(message).toBe(
      "the learning rate of step 2 is NaN: check the stage's learning rate schedule at this step; checkpoints from before this step are intact",
    );
    expect([saved.length, written]).toEqual([1, false]);
  },
  "a running statistic that is infinite": async (backend) => {
    const { message, written } = await run(backend, {
      loss: (p) => {
        const { x } = rooted(p);
        const next = add(state("statistic", "f32", [width]), div(1, x));
        return { loss: sum(x, width), updates: [{ name: "statistic", next, initial: 1 }] };
      },
    });
    expect(message).toBe(
      'element 1 of "statistic" is Infinity after the last step, so no weights were written: lower the learning rate',
    );
    expect(written).toBe(false);
  },
};

const rowsOf = (t: number, rows: number | undefined) =>
  hostTensor(
    "f32",
    [...(rows ? [{ name: "batch", size: rows }] : []), { name: "width", size: 3 }],
    new Float32Array(3 * (rows ?? 1)).fill(t),
  );

/** Trains on the values of t by step, without a checkpoint before the end, and returns the error's last line. */
async function sourceOf(
  ts: readonly number[],
  loss: (p: Params) => { readonly loss: Tensor<never> },
  accumulate = 1,
  stopWhenRepeated?: AbortController,
) {
  let isRepeated = false;
  const folder = mkdtempSync(join(root, "source-"));
  const stage = defineStage({ name: "source", loss, optimizer: { rate: constantRate(1e-3) }, accumulate });
  const job = tinyJob(ts.length / accumulate, {
    step: trainingStep(stage),
    checkpointEvery: 100,
    async *batches() {
      if (isRepeated) stopWhenRepeated?.abort();
      isRepeated = true;
      for (const [i, t] of ts.entries())
        yield { feeds: { t: rowsOf(t, accumulate > 1 ? tinyBatch : undefined) }, next: i };
    },
  });
  const options = {
    folder,
    backend: referenceBackend(),
    note: () => {},
    ...(stopWhenRepeated && { signal: stopWhenRepeated.signal }),
  };
  const error = await train(job, options).catch((e: Error) => e);
  return (error as Error).message.split("\n").at(-1);
}

const t = input("t", "f32", [width]);
const logged = (p: Params) => {
  const inner = p.scope("blocks.1");
  const scaled = mul(inner.parameter("w", [width], constantInit(0.5)), t);
  return { loss: sum(log(scaled), width) };
};

it("names the module and the line in which a value of the forward pass is first not finite", async () => {
  const source = await sourceOf([2, 3, 0], logged);
  expect(source).toMatch(
    /^ {2}the first such value is an infinity in "blocks\.1" \(log\), in the forward pass, at .*finite\.test\.ts:\d+:\d+$/,
  );
});

it("names it in any micro-batch", async () => {
  const batch = axis("batch", "batch");
  const ofRows = (p: Params) => {
    const w = p.scope("blocks.1").parameter("w", [width], constantInit(0.5));
    return { loss: mean(sum(log(mul(input("t", "f32", [batch, width]), w)), width), batch) };
  };
  expect(await sourceOf([2, 3, 4, 0], ofRows, 2)).toContain('an infinity in "blocks.1" (log), in the forward pass');
});

it("names an input that is not finite", async () => {
  expect(await sourceOf([2, Number.NaN], logged)).toBe('  the first such value is a NaN in the input "t"');
});

it("names the step only where the run is asked to stop meanwhile", async () => {
  const stop = new AbortController();
  const source = await sourceOf([2, 3, 0], logged, 1, stop);
  expect(source).toMatch(/^the loss of step 3 is -?Infinity: .* checkpoints from before this step are intact$/);
});

it("names a state that the step before left not finite", async () => {
  const counted = (p: Params) => {
    const statistic = state("statistic", "f32", [width]);
    const loss = sum(mul(mul(p.parameter("w", [width], constantInit(0.5)), t), statistic), width);
    return { loss, updates: [{ name: "statistic", next: div(1, t), initial: 1 }] };
  };
  expect(await sourceOf([1, 0, 1], counted)).toBe(
    '  the first such value is an infinity in "statistic", which the step before wrote',
  );
});

it.each(Object.entries(causes))("reference: nothing is written of %s", (_, holds) => holds(referenceBackend()));

it.each(Object.entries(causes))("cpu: nothing is written of %s", async (_, holds) => {
  const backend = await cpuBackend({ threads: 1 });
  await holds(backend).finally(() => backend.dispose());
});

for (const [cause, holds] of Object.entries(causes))
  gpuTest(`webgpu: nothing is written of ${cause}`, ({ gpu }) => holds(webgpuBackend(gpu)));
