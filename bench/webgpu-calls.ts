/** Counts WebGPU API calls below all libraries, with the same counter for each. */
import type { WebgpuCalls } from "./subject.ts";

/** The prototypes shared by all devices of this process; they exist once a device was opened. */
interface Prototypes {
  readonly GPUDevice: { readonly prototype: GPUDevice };
  readonly GPUQueue: { readonly prototype: GPUQueue };
  readonly GPUComputePassEncoder: { readonly prototype: GPUComputePassEncoder };
}

export interface CallCounter {
  /** The counts so far. */
  now(): WebgpuCalls;
}

/** The calls between two counts. */
export const callsBetween = (before: WebgpuCalls, after: WebgpuCalls): WebgpuCalls => ({
  dispatches: after.dispatches - before.dispatches,
  submissions: after.submissions - before.submissions,
  buffers: after.buffers - before.buffers,
  bufferBytes: after.bufferBytes - before.bufferBytes,
  uploads: after.uploads - before.uploads,
  pipelines: after.pipelines - before.pipelines,
});

/** Starts counting the calls on all devices of this process. */
export function countCalls(): CallCounter {
  const counts = { dispatches: 0, submissions: 0, buffers: 0, bufferBytes: 0, uploads: 0, pipelines: 0 };
  const { GPUDevice, GPUQueue, GPUComputePassEncoder } = globalThis as unknown as Prototypes;
  before(GPUComputePassEncoder.prototype, "dispatchWorkgroups", () => counts.dispatches++);
  before(GPUComputePassEncoder.prototype, "dispatchWorkgroupsIndirect", () => counts.dispatches++);
  before(GPUQueue.prototype, "submit", () => counts.submissions++);
  before(GPUQueue.prototype, "writeBuffer", () => counts.uploads++);
  before(GPUDevice.prototype, "createComputePipeline", () => counts.pipelines++);
  before(GPUDevice.prototype, "createComputePipelineAsync", () => counts.pipelines++);
  before(GPUDevice.prototype, "createBuffer", ({ size }) => {
    counts.buffers++;
    counts.bufferBytes += size;
  });
  return { now: () => ({ ...counts }) };
}

// biome-ignore lint/suspicious/noExplicitAny: any method may be wrapped
type Methods<T> = { [K in keyof T as T[K] extends (...args: any[]) => unknown ? K : never]: T[K] };

/** Calls `note` with the arguments before each call of a method. */
function before<T extends object, K extends keyof Methods<T>>(
  prototype: T,
  name: K,
  // biome-ignore lint/suspicious/noExplicitAny: any method may be wrapped
  note: (...args: T[K] extends (...args: infer A) => any ? A : never) => void,
): void {
  const method = prototype[name] as (...args: unknown[]) => unknown;
  const counted = function (this: T, ...args: unknown[]) {
    note(...(args as Parameters<typeof note>));
    return method.apply(this, args);
  };
  Object.defineProperty(prototype, name, { value: counted, configurable: true, writable: true });
}
