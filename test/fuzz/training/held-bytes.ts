/** Bytes of the buffers that a device holds; 0 for an executor without any. */
import type { Backend } from "../../../backends/backend.ts";
import type { WebgpuBackend } from "../../../backends/webgpu/index.ts";

export const heldBytes = (backend: Backend): number =>
  "gpu" in backend
    ? [...(backend as WebgpuBackend).gpu.memory.heldBytes().values()].reduce((sum, bytes) => sum + bytes, 0)
    : 0;
