/** WebGPU devices for tests: one software device per test file, and a validating device without hardware. */
import { test as base } from "vitest";
import { requestDevice } from "../../backends/webgpu/runtime/adapter.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import { UnsupportedError } from "../../compiler/index.ts";
import { requestNullDevice } from "./null-device.ts";
import { onceAFile } from "./once-a-file.ts";

/** A device, or why this machine has none. */
type Opened = { readonly device: GpuDevice } | { readonly missing: string };

/** On these platforms the development dependencies include a software adapter, so that its absence is a failure. */
const mustRun = process.platform === "linux" && process.arch === "x64";

const openSoftware = onceAFile(
  (): Promise<Opened> =>
    requestDevice({ prefer: "software" }).then(
      (device) => ({ device }),
      (cause: unknown) => {
        if (mustRun || !(cause instanceof UnsupportedError)) throw cause;
        return { missing: cause.message };
      },
    ),
  (opened) => "device" in opened && opened.device.dispose(),
);

/**
 * The software device of this test file, opened on the first call and disposed of after the last test. Throws
 * UnsupportedError when there is none; a test that can be skipped uses `gpuTest` instead.
 */
export async function softwareDevice(): Promise<GpuDevice> {
  const opened = await openSoftware();
  if ("missing" in opened) throw new UnsupportedError(opened.missing);
  return opened.device;
}

/** The validating device of this test file: shaders and commands are checked, but not executed. */
export const validatingDevice: () => Promise<GpuDevice> = onceAFile(requestNullDevice, (device) => device.dispose());

/**
 * `test` with a `gpu` in its context: the software device of this file. Without one, the test is reported as skipped
 * with the reason; on Linux x64 it fails instead.
 */
export const gpuTest = base.extend<{ gpu: GpuDevice }>({
  gpu: async ({ skip }, use) => {
    const opened = await openSoftware();
    if ("missing" in opened) return skip(opened.missing);
    await use(opened.device);
    opened.device.check(); // attributes an error that nobody awaited to the test that caused it
  },
});
