/** Errors of a device as the outcome of what caused them: a tuner tries what may fail, and goes on. */
import { UnsupportedError } from "../../../compiler/index.ts";
import type { GpuDevice } from "../runtime/device.ts";

const filters = ["validation", "out-of-memory", "internal"] as const satisfies readonly GPUErrorFilter[];

/** What `body` gives, which awaits nothing, so that several may be under way; throws as `scoped` does. */
export async function scopedAtOnce<T>(gpu: GpuDevice, body: () => T): Promise<T> {
  for (const filter of filters) gpu.device.pushErrorScope(filter);
  const pop = () => Promise.all(filters.map(() => gpu.device.popErrorScope()));
  let value: T;
  try {
    value = body();
  } catch (error) {
    await pop();
    throw error;
  }
  refuse(await gpu.settle(pop()));
  return value;
}

/** What `body` gives; throws UnsupportedError with the device's words where something that it asked for was refused. */
export async function scoped<T>(gpu: GpuDevice, body: () => Promise<T>): Promise<T> {
  for (const filter of filters) gpu.device.pushErrorScope(filter);
  const outcome = await body().then(
    (value) => ({ value }),
    (cause: unknown) => ({ cause }),
  );
  const errors = await gpu.settle(Promise.all(filters.map(() => gpu.device.popErrorScope())));
  refuse(errors);
  if ("cause" in outcome) throw outcome.cause;
  return outcome.value;
}

function refuse(errors: readonly (GPUError | null)[]): void {
  const refused = errors.find((e) => e !== null);
  if (refused) throw new UnsupportedError(refused.message, { cause: refused });
}
