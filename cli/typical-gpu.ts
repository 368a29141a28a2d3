/** What kernels are compiled for when no device is at hand. */
import { type AdapterFacts, baselineFacts } from "../compiler/index.ts";

/** WebGPU's guaranteed limits, but for the ten storage buffers a kernel that desktop browsers and drivers all grant. */
export const typicalFacts: AdapterFacts = { ...baselineFacts, maxBindings: 10 };
