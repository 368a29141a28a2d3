/** Why a page has no device: each reason is one error, whatever the browser answers. */
import { afterEach, expect, test, vi } from "vitest";
import { requestBrowserDevice } from "../../backends/webgpu/runtime/browser-device.ts";
import { UnsupportedError } from "../../compiler/index.ts";

afterEach(() => void vi.unstubAllGlobals());

const reason = async (navigator: object): Promise<string> => {
  vi.stubGlobal("navigator", navigator);
  const error = await requestBrowserDevice().catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(UnsupportedError);
  return (error as Error).message;
};

test("a page without WebGPU, a browser without an adapter, and a request that fails", async () => {
  expect(await reason({})).toMatch(/^this page has no WebGPU/);
  expect(await reason({ gpu: { requestAdapter: async () => null } })).toMatch(/offers no adapter/);
  const requestAdapter = async () => {
    throw new TypeError("the GPU process ended");
  };
  expect(await reason({ gpu: { requestAdapter } })).toBe(
    "the browser's request for a WebGPU adapter failed: the GPU process ended",
  );
});
