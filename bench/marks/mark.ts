/** A mark: heddle's result on this adapter, with its target and PyTorch's result. */

import type { Store } from "../../backends/backend.ts";
import type { WebgpuBackend, WebgpuExecutable } from "../../backends/webgpu/index.ts";
import { median } from "../statistics.ts";
import type { Pattern } from "./pattern.ts";
import type { Shapes } from "./shapes.ts";

export type Unit = "ms" | "TFLOP/s" | "s" | "x";

/** Targets on an H200 through Vulkan; they do not apply to other adapters and shapes. */
export interface Asked {
  readonly unit: Unit;
  readonly first?: number;
  readonly goal?: number;
  /** Whether the target is a fraction of PyTorch's speed. */
  readonly ofPeer?: boolean;
}

/** PyTorch's counterpart: a function of its script, with its arguments. */
export interface PeerOrder {
  readonly run: string;
  readonly weights?: Readonly<Record<string, Pattern>>;
  readonly [key: string]: unknown;
}

export interface Found {
  readonly value: number;
  /** A remark on the result. */
  readonly note?: string;
  /** Elements of the result, compared with PyTorch's before any timing counts. */
  readonly sample?: Float32Array;
  readonly tolerance?: number;
  readonly peer?: PeerOrder;
  /** A known result of another library. */
  readonly other?: { readonly name: string; readonly value: number };
}

/** A result, or why there is none. */
export type Outcome = Found | { readonly skipped: string };

export interface MarkContext {
  readonly backend: WebgpuBackend;
  readonly shapes: Shapes;
  readonly note: (text: string) => void;
}

/** Marks that share expensive setup. `measure` records them as they complete. */
export interface MarkGroup {
  /** The word for `--only`. */
  readonly name: string;
  readonly marks: (shapes: Shapes) => Readonly<Record<string, Asked>>;
  readonly measure: (context: MarkContext, record: (mark: string, outcome: Outcome) => void) => Promise<void>;
}

/** The dtype in which the adapter computes when f16 is requested. */
export const halfOr = ({ backend }: MarkContext): { dtype: "f32" | "f16"; note?: string } =>
  backend.gpu.features.has("shader-f16") ? { dtype: "f16" } : { dtype: "f32", note: "in f32: no shader-f16 here" };

/** The median wall time of a run in milliseconds, after two untimed runs. */
export async function wallMs(run: () => Promise<unknown>, times: number): Promise<number> {
  for (let i = 0; i < 2; i++) await run();
  const all: number[] = [];
  for (let i = 0; i < times; i++) {
    const begun = performance.now();
    await run();
    all.push(performance.now() - begun);
  }
  return median(all);
}

/** The median total time of all kernels by GPU timestamps if available, like PyTorch's events. */
export async function kernelsMs(
  { backend: { gpu } }: MarkContext,
  executable: WebgpuExecutable,
  store: Store,
  times: number,
): Promise<number> {
  const run = () => executable.run({}, store, { fetch: [] });
  if (!gpu.features.has("timestamp-query")) return await wallMs(run, times);
  for (let i = 0; i < 2; i++) await run();
  const all: number[] = [];
  for (let i = 0; i < times; i++) {
    const kernels = await executable.profile({}, store);
    all.push(kernels.reduce((n, k) => n + k.nanoseconds, 0) / 1e6);
  }
  return median(all);
}

export const join = (...notes: readonly (string | undefined)[]): { note?: string } => {
  const said = notes.filter((n) => n !== undefined && n !== "");
  return said.length > 0 ? { note: said.join("; ") } : {};
};
