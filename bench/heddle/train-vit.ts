/** heddle's training step: only the stage is declared. */
import type { Store } from "../../backends/backend.ts";
import { type WebgpuExecutable, webgpuBackend } from "../../backends/webgpu/index.ts";
import { tunedOptions } from "../../cli/index.ts";
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import { type TrainingStep, trainingStep } from "../../dsl/index.ts";
import { openDevice } from "../device.ts";
import { drawBatch, drawWeights } from "../model/values.ts";
import { type VitConfig, vitStage } from "../model/vit.ts";
import type { Subject } from "../subject.ts";
import { kernelFigures } from "./kernels.ts";

export async function trainVit(c: VitConfig): Promise<Subject> {
  const gpu = await openDevice();
  const backend = webgpuBackend(gpu, await tunedOptions(gpu));
  const store = backend.createStore();
  const { trained } = trainingStep(vitStage(c));
  const weights = drawWeights(trained);
  const feeds = batchFeeds(c);
  let executable: WebgpuExecutable;
  return {
    gpu,
    build: async () => {
      const step = trainingStep(vitStage(c));
      executable = await backend.compile(step.graph);
      await fillStore(store, step, weights);
      return async () => Float32Array.from((await executable.run(feeds, store)).loss!.data);
    },
    profile: () => kernelFigures(executable, feeds, store),
  };
}

/** The training state before the first step. */
export async function fillStore(
  store: Store,
  { arenas, rule, counter, lossScale }: TrainingStep,
  weights: ReadonlyMap<string, HostTensor>,
): Promise<void> {
  const flat = (data: Float32Array) => hostTensor("f32", [{ name: "arena", size: data.length }], data);
  for (const { layout, parameters, state } of arenas) {
    const values = new Float32Array(layout.size);
    for (const { name, offset } of layout.entries) values.set(weights.get(name)!.data, offset);
    await store.write(parameters, flat(values));
    for (const [name, start] of Object.entries(rule.state))
      await store.write(state[name]!, flat(start === "parameter" ? values : new Float32Array(layout.size).fill(start)));
  }
  await store.write(counter, hostTensor("i32", [], [0]));
  if (lossScale) await store.write(lossScale.state, hostTensor("f32", [], [lossScale.initial]));
  if (lossScale?.goodSteps) await store.write(lossScale.goodSteps, hostTensor("i32", [], [0]));
}

/** The batch as the stage's inputs. */
export function batchFeeds(c: VitConfig): Record<string, HostTensor> {
  const { pixels, label } = drawBatch(c);
  const names = ["batch", "channel", "row", "column"];
  const axes = names.map((name, i) => ({ name, size: pixels.shape[i]! }));
  return {
    pixels: hostTensor("f32", axes, pixels.data),
    label: hostTensor("i32", [{ name: "batch", size: c.batch }], label),
  };
}
