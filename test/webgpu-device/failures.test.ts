import { describe, expect, test } from "vitest";
import { DeviceLostError, type DeviceSource, openDevice } from "../../backends/webgpu/runtime/device.ts";
import { waitPlainly } from "../../backends/webgpu/runtime/wait.ts";
import { InternalError, UnsupportedError } from "../../compiler/index.ts";
import { validatingDevice } from "../support/adapter.ts";

const source: DeviceSource = { backend: "vulkan", reason: "the test asks for it", wait: waitPlainly };

class GPUOutOfMemoryError extends Error {}

/** An adapter whose device fails on command: drivers do not. */
function failingAdapter() {
  const events = new EventTarget();
  let lose: (info: { reason: string; message: string }) => void = () => {};
  const device = Object.assign(events, {
    limits: { maxBufferSize: 1024 },
    features: new Set(["subgroups"]),
    lost: new Promise((resolve) => {
      lose = resolve;
    }),
    destroy: () => lose({ reason: "destroyed", message: "" }),
  });
  const adapter = {
    info: { vendor: "acme", architecture: "", device: "", description: "Acme 3000" },
    limits: { maxBufferSize: 1024 },
    features: new Set(["subgroups", "timestamp-query", "float32-blendable"]),
    requestDevice: async () => device,
  };
  const fail = (error: Error) => events.dispatchEvent(Object.assign(new Event("uncapturederror"), { error }));
  return { adapter: adapter as unknown as GPUAdapter, lose, fail };
}

describe("a device's failures", () => {
  test("a command that WebGPU refuses is a fault of ours", async () => {
    const gpu = await validatingDevice();
    const refused = gpu.device.createBuffer({ size: 16, usage: 0xffff });
    await expect(gpu.settle(gpu.device.queue.onSubmittedWorkDone())).rejects.toThrow(InternalError);
    expect(() => gpu.check()).toThrow(/WebGPU on ".*" refused a command: .*65535/);
    refused.destroy();
  });

  test("memory that runs out is told with what to do", async () => {
    const { adapter, fail } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    gpu.check();
    fail(new GPUOutOfMemoryError("no 4 GiB"));
    expect(() => gpu.check()).toThrow(UnsupportedError);
    expect(() => gpu.check()).toThrow(
      'adapter "Acme 3000" is out of memory: no 4 GiB\n  hint: a smaller batch or a smaller model needs less',
    );
  });

  test("a lost device explains the promises that it rejects", async () => {
    const { adapter, lose } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    const pending = gpu.settle(Promise.reject(new Error("mapAsync was aborted")));
    lose({ reason: "unknown", message: "the driver was reset" });
    await expect(pending).rejects.toThrow(DeviceLostError);
    await expect(pending).rejects.toThrow(
      'the device on "Acme 3000" was lost: the driver was reset\n  hint: start again;',
    );
  });

  test("the first failure is the one told", async () => {
    const { adapter, fail, lose } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    fail(new GPUOutOfMemoryError("first"));
    lose({ reason: "unknown", message: "second" });
    await expect(gpu.settle(Promise.resolve(1))).rejects.toThrow("first");
  });

  test("disposing is no failure", async () => {
    const { adapter } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    gpu.dispose();
    gpu.dispose();
    expect(await gpu.settle(Promise.resolve(1))).toBe(1);
  });

  test("a rejection of a healthy device passes through", async () => {
    const { adapter } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    await expect(gpu.settle(Promise.reject(new Error("a pipeline does not compile")))).rejects.toThrow(/^a pipeline/);
  });

  test("an adapter that refuses a device says why", async () => {
    const { adapter } = failingAdapter();
    const refusing = Object.assign(adapter, { requestDevice: () => Promise.reject(new Error("busy")) });
    await expect(openDevice(refusing, source)).rejects.toThrow('adapter "Acme 3000" refused a device: busy');
  });
});
