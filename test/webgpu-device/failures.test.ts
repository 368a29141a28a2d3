import { describe, expect, test } from "vitest";
import { DeviceLostError, type DeviceSource, openDevice } from "../../backends/webgpu/runtime/device.ts";
import { type MemoryKind, OutOfMemoryError } from "../../backends/webgpu/runtime/device-memory.ts";
import { waitPlainly } from "../../backends/webgpu/runtime/wait.ts";
import { InternalError, UnsupportedError } from "../../compiler/index.ts";
import { validatingDevice } from "../support/adapter.ts";

const source: DeviceSource = { backend: "vulkan", reason: "the test asks for it", wait: waitPlainly };

class GPUOutOfMemoryError extends Error {}

/** An adapter whose device fails on command: drivers do not. */
function failingAdapter() {
  const events = new EventTarget();
  let lose: (info: { reason: string; message: string }) => void = () => {};
  const limits = { maxBufferSize: 2 ** 30, maxStorageBufferBindingSize: 2 ** 29 };
  let refusal: Error | null = null;
  const device = Object.assign(events, {
    limits,
    createBuffer: () => ({ destroy: () => {} }),
    pushErrorScope: () => {},
    popErrorScope: async () => refusal,
    features: new Set(["subgroups"]),
    lost: new Promise((resolve) => {
      lose = resolve;
    }),
    destroy: () => lose({ reason: "destroyed", message: "" }),
  });
  const adapter = {
    info: { vendor: "acme", architecture: "", device: "", description: "Acme 3000" },
    limits,
    features: new Set(["subgroups", "timestamp-query", "float32-blendable"]),
    requestDevice: async () => device,
  };
  const fail = (error: Error) => events.dispatchEvent(Object.assign(new Event("uncapturederror"), { error }));
  const refuse = (message: string) => {
    refusal = new GPUOutOfMemoryError(message);
  };
  return { adapter: adapter as unknown as GPUAdapter, lose, fail, refuse };
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
    expect(() => gpu.check()).toThrow(OutOfMemoryError);
    expect(() => gpu.check()).toThrow(
      [
        '"Acme 3000" is out of memory',
        "  held: nothing",
        "  limits: 1.0 GiB in a buffer, 512.0 MiB in a binding",
        "  the driver says: no 4 GiB",
        "  hint: a smaller batch or a smaller model needs less",
      ].join("\n"),
    );
  });

  test("a buffer that the driver has no memory for is told with what it was for and what is held", async () => {
    const { adapter, refuse } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    const asked = (what: string, bytes: number, kind: MemoryKind = "weights and states") =>
      gpu.memory.allocate({ what, kind, bytes, usage: 0 });
    const held = asked("first", 300 * 2 ** 20);
    await gpu.allocated([held]);
    const small = asked("slot 1", 1000, "activations");
    refuse("no more");
    const refused = asked("block3.fc1.weight", 2 ** 29);
    await gpu.allocated([held, small]);
    const error = await gpu.allocated([held, refused]).then(
      () => undefined,
      (e: unknown) => e as OutOfMemoryError,
    );
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error!.message).toBe(
      [
        '"Acme 3000" is out of memory: weights and states, "block3.fc1.weight", ask for 512.0 MiB',
        "  held: weights and states 812.0 MiB, activations 1008 bytes",
        "  limits: 1.0 GiB in a buffer, 512.0 MiB in a binding",
        "  the driver says: no more",
        "  hint: weights in f16 (--dtype f16) take half, and offloading (--offload) streams them through the device; a smaller model needs less",
      ].join("\n"),
    );
    expect([error!.what, error!.bytes]).toEqual(["block3.fc1.weight", 2 ** 29]);
    for (const b of [held, refused, small, small]) b.destroy();
    expect([...gpu.memory.heldBytes()]).toEqual([]);
    expect(() => asked("too large", 2 ** 30 + 1)).toThrow(UnsupportedError);
    gpu.check(); // what was asked for and refused is no failure of the device
  });

  test("a buffer that cannot be mapped is memory that runs out", async () => {
    const { adapter } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    gpu.device.createBuffer = () => {
      throw new RangeError("createBuffer failed");
    };
    const ask = () => gpu.memory.allocate({ what: "staging 0", kind: "staging", bytes: 64, usage: 0 });
    expect(ask).toThrow(OutOfMemoryError);
    expect(ask).toThrow('"Acme 3000" is out of memory: staging, "staging 0", ask for 64 bytes');
  });

  test("a lost device is told with what was being done", async () => {
    const { adapter, lose } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    const pending = gpu.settle(Promise.reject(new Error("aborted")), 'loading "w" and 3 more');
    lose({ reason: "unknown", message: "the bus fell off" });
    await expect(pending).rejects.toThrow(
      'the device on "Acme 3000" was lost while loading "w" and 3 more: the bus fell off\n  hint: start again;',
    );
    await expect(gpu.settle(Promise.resolve(1), "running @g")).rejects.toThrow("was lost while running @g: the bus");
    expect(() => gpu.check()).toThrow('the device on "Acme 3000" was lost: the bus fell off');
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

  test("a wait that is given up before the loss is told, or without one, is a lost device all the same", async () => {
    const { adapter, lose } = failingAdapter();
    const gpu = await openDevice(adapter, source);
    const givenUp = () => gpu.settle(Promise.reject(new DOMException("", "AbortError")), 'reading "loss" back');
    await expect(givenUp()).rejects.toThrow(DeviceLostError);
    await expect(givenUp()).rejects.toThrow(
      'the device on "Acme 3000" was lost while reading "loss" back: the driver cancelled the operation without giving a reason\n',
    );
    setTimeout(() => lose({ reason: "destroyed", message: "" }), 50);
    await expect(givenUp()).rejects.toThrow('was lost while reading "loss" back: it was destroyed\n');
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
