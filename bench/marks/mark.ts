/** What a mark is: a figure of heddle on this adapter, beside what is asked of it and what PyTorch takes. */

import type { Store } from "../../backends/backend.ts";
import type { WebgpuBackend, WebgpuExecutable } from "../../backends/webgpu/index.ts";
import { median } from "../statistics.ts";
import type { Pattern } from "./pattern.ts";
import type { Shapes } from "./shapes.ts";

export type Unit = "ms" | "TFLOP/s" | "s" | "x";

/** What is asked on an H200 through Vulkan; of other adapters and shapes nothing is. */
export interface Asked {
  readonly unit: Unit;
  readonly first?: number;
  readonly goal?: number;
  /** Whether it is asked for as a share of PyTorch's speed. */
  readonly ofPeer?: boolean;
}

/** What PyTorch is to do beside it: a function of its script, with what that needs to know. */
export interface PeerOrder {
  readonly run: string;
  readonly weights?: Readonly<Record<string, Pattern>>;
  readonly [key: string]: unknown;
}

export interface Found {
  readonly value: number;
  /** What should be known of the figure. */
  readonly note?: string;
  /** Elements of the result, compared with those of PyTorch before any figure counts. */
  readonly sample?: Float32Array;
  readonly tolerance?: number;
  readonly peer?: PeerOrder;
  /** A figure of another library that is known already. */
  readonly other?: { readonly name: string; readonly value: number };
}

/** A figure, or why there is none. */
export type Outcome = Found | { readonly skipped: string };

export interface MarkContext {
  readonly backend: WebgpuBackend;
  readonly shapes: Shapes;
  readonly note: (text: string) => void;
}

/** Marks that share what is dear to make. `measure` records them as they come. */
export interface MarkGroup {
  /** The word for `--only`. */
  readonly name: string;
  readonly marks: (shapes: Shapes) => Readonly<Record<string, Asked>>;
  readonly measure: (context: MarkContext, record: (mark: string, outcome: Outcome) => void) => Promise<void>;
}

/** In what the adapter computes where f16 is asked for. */
export const halfOr = ({ backend }: MarkContext): { dtype: "f32" | "f16"; note?: string } =>
  backend.gpu.features.has("shader-f16") ? { dtype: "f16" } : { dtype: "f32", note: "in f32: no shader-f16 here" };

/** The median time of a run in milliseconds, after two that are not timed. */
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

/** The median time of all kernels by the adapter's own clock where it has one, as PyTorch's events have it. */
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
