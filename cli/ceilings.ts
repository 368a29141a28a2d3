/** An adapter's peak rates (ceilings): measured once and cached on disk. */

import { cachePath, measuredOn } from "../api/node-index.ts";
import type { WebgpuBackend } from "../backends/webgpu/index.ts";
import { type Ceilings, type Missing, measureCeilings } from "../backends/webgpu/index.ts";
import { FileError } from "../compiler/index.ts";
import { areNumbers, isRecord, readCached, writeCached } from "../runtime/index.ts";

export interface MeasuredCeilings {
  readonly ceilings: Ceilings;
  readonly missing: Missing;
}

type GpuDevice = WebgpuBackend["gpu"];

const kind = { what: "ceilings", again: "heddle devices --measure measures them anew" };
const always = ["copy", "f32", "product", "dispatch", "submission"] as const satisfies readonly (keyof Ceilings)[];

const areCeilings = (value: unknown): value is MeasuredCeilings =>
  isRecord(value) &&
  isRecord(value.missing) &&
  areNumbers(value.ceilings) &&
  always.every((name) => Object.hasOwn(value.ceilings as object, name));

/** Measures the adapter and caches the result; if it cannot be written, the next command measures again. */
export async function freshCeilings(gpu: GpuDevice): Promise<MeasuredCeilings> {
  const measured = await measureCeilings(gpu);
  try {
    await writeCached(cachePath("ceilings", gpu), measuredOn(gpu), measured);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    process.stderr.write(`the measured ceilings were not cached: ${error.message}\n`);
  }
  return measured;
}

/** The cached ceilings of the adapter, else measured now. */
export async function ceilingsOf(gpu: GpuDevice): Promise<MeasuredCeilings> {
  const { value, ignored } = await readCached(cachePath("ceilings", gpu), kind, measuredOn(gpu), areCeilings);
  if (ignored !== undefined) process.stderr.write(`${ignored}\n`);
  return value ?? (await freshCeilings(gpu));
}
