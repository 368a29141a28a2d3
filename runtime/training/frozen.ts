/**
 * Frozen weights in a run's store, in the form that its step requests; when the run writes weights, frozen ones are
 * written as originally given.
 */
import type { Store } from "../../backends/backend.ts";
import { type HostTensor, hostTensor, UsageError } from "../../compiler/index.ts";
import { quantized } from "../quantized-weights.ts";
import type { CompiledStep } from "./job.ts";

/** Writes a frozen weight in the step's form. Throws UsageError for a value that it cannot represent. */
export async function writeFrozen(
  { frozenAs }: Pick<CompiledStep, "frozenAs">,
  store: Pick<Store, "write">,
  name: string,
  value: HostTensor,
): Promise<void> {
  const integers = frozenAs?.quantized.find((q) => q.parameter === name);
  if (integers) {
    const { words, scales } = quantized(integers, value);
    await store.write(integers.words.name, words);
    await store.write(integers.scales.name, scales);
    return;
  }
  await store.write(name, frozenAs?.halves.includes(name) ? asHalves(name, value) : value);
}

function asHalves(name: string, { axes, data }: HostTensor): HostTensor {
  const halves = Float16Array.from(data as ArrayLike<number>);
  const beyond = halves.findIndex((h, i) => !Number.isFinite(h) && Number.isFinite(data[i]!));
  if (beyond < 0) return hostTensor("f16", axes, halves);
  throw new UsageError(
    `the frozen weight "${name}" has the value ${data[beyond]}, which is outside the range of f16: keep frozen weights in f32 with frozen: "f32" in the stage`,
  );
}
