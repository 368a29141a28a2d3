/** A worker with a device of its own. */
import { webgpuBackend } from "../../../backends/webgpu/index.ts";
import { requestBrowserDevice } from "../../../backends/webgpu/runtime/browser-device.ts";
import { infer } from "../inference.ts";

const backend = webgpuBackend(await requestBrowserDevice());
const found: number[][] = [];
for (let i = 0; i < 3; i++) found.push(await infer(backend));
backend.dispose();
postMessage(found);
