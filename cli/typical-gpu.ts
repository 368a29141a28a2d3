/** The adapter that kernels are compiled for when there is no device. */
export { typicalFacts } from "../backends/webgpu/index.ts";
