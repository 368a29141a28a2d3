/** What kernels are compiled for when no device is at hand. */
import { baselineFacts, scheduleFor } from "../compiler/index.ts";

/** WebGPU's guaranteed limits, but for the ten storage buffers a kernel that desktop browsers and drivers all grant. */
export const typicalSchedule = scheduleFor({ ...baselineFacts, maxBindings: 10 });
