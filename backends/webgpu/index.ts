/** The WebGPU backend: runs graphs as fused WGSL kernels, on Dawn in Node and on a browser's device. */
export { type Bundle, type BundleManifest, bundleOf } from "./bundle/bundle.ts";
export { type BundleOptions, compileBundle, typicalFacts } from "./bundle/compile-bundle.ts";
export { emitWgsl } from "./emit/wgsl.ts";
export { factsOf, type WebgpuBackend, type WebgpuExecutable, webgpuBackend } from "./runtime/backend.ts";
export { requestBrowserDevice } from "./runtime/browser-device.ts";
export { adoptDevice, DeviceLostError, type GraphicsBackend } from "./runtime/device.ts";
export { type MemoryKind, OutOfMemoryError } from "./runtime/device-memory.ts";
export type { KernelTime } from "./runtime/program.ts";
export { type Ceilings, type Missing, measureCeilings } from "./tune/ceilings.ts";
export { type KernelTiming, timeKernels } from "./tune/time-kernels.ts";
export {
  type FailedKernel,
  mergedFindings,
  type TimedWay,
  type TunedKernel,
  type TuneOptions,
  tuneKernels,
  type Way,
} from "./tune/tuner.ts";
