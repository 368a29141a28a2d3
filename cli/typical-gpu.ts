/** What kernels are compiled for when no device is at hand. */
export { typicalFacts } from "../backends/webgpu/index.ts";
