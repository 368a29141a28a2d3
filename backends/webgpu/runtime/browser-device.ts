/** The browser's own WebGPU device, behind the same interface as Node's. */
import { UnsupportedError } from "../../../compiler/index.ts";
import { type GpuDevice, openDevice } from "./device.ts";
import { waitPlainly } from "./wait.ts";

/**
 * Opens a device on the adapter that the browser prefers for heavy work.
 * Throws UnsupportedError where the page has no WebGPU, or the browser offers no adapter or fails to look for one.
 */
export async function requestBrowserDevice(): Promise<GpuDevice> {
  const gpu = globalThis.navigator?.gpu;
  if (!gpu) {
    throw new UnsupportedError(
      "this page has no WebGPU (navigator.gpu)\n" +
        "  hint: open it over https or from localhost, in a browser with WebGPU enabled",
    );
  }
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" }).catch((cause: unknown) => {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UnsupportedError(`the browser's request for a WebGPU adapter failed: ${why}`, { cause });
  });
  if (!adapter) {
    throw new UnsupportedError(
      "the browser has WebGPU but offers no adapter\n" +
        "  hint: its GPU may be blocked; see the GPU status page of the browser",
    );
  }
  return openDevice(adapter, { backend: "browser", reason: "the browser prefers it", wait: waitPlainly });
}
