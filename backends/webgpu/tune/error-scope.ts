/** Error scopes that turn device errors into exceptions of the code that caused them, so that a tuner can go on. */
import { UnsupportedError } from "../../../compiler/index.ts";
import type { GpuDevice } from "../runtime/device.ts";

const filters = ["validation", "out-of-memory", "internal"] as const satisfies readonly GPUErrorFilter[];

/** Like `scoped`, for a synchronous `body`, so that several calls may be in flight. */
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

/** Returns the result of `body`; throws UnsupportedError with the device's message if it caused a device error. */
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
