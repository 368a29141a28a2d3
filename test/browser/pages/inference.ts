/** The compiler and the WebGPU backend in a page. */
import { webgpuBackend } from "../../../backends/webgpu/index.ts";
import { requestBrowserDevice } from "../../../backends/webgpu/runtime/browser-device.ts";
import { infer } from "../inference.ts";

export async function logits(): Promise<number[]> {
  const backend = webgpuBackend(await requestBrowserDevice());
  try {
    return await infer(backend);
  } finally {
    backend.dispose();
  }
}
