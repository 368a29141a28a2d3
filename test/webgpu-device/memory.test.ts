/** Memory that runs out, and devices that go away in the middle of things, on a real device. */
import { describe, expect } from "vitest";
import type { StoredTensor } from "../../backends/backend.ts";
import { DeviceLostError, OutOfMemoryError, type WebgpuBackend, webgpuBackend } from "../../backends/webgpu/index.ts";
import { requestDevice } from "../../backends/webgpu/runtime/adapter.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import { type HostTensor, hostTensor, makeGraph, ops } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";

const axis = (name: string, size: number) => ({ name, size });

const failure = async (pending: Promise<unknown>): Promise<Error> =>
  pending.then(
    () => new Error("nothing failed"),
    (error: unknown) => error as Error,
  );

describe("more memory than the driver gives", () => {
  /** Bytes that an adapter promises to one buffer; SwiftShader has not the memory for it. */
  const most = (gpu: GpuDevice) => gpu.limits.maxBufferSize;

  gpuTest("for weights: they are named, and the store is as it was", async ({ gpu }) => {
    if (gpu.adapter.vendor !== "google") return; // others may have it
    const store = webgpuBackend(gpu).createStore();
    await store.write("small", hostTensor("f32", [axis("n", 3)], new Float32Array([1, 2, 3])));
    const tensor: StoredTensor = {
      axes: [axis("n", most(gpu) / 4)],
      dtype: "f32",
      stored: "f32",
      place: { file: "", offset: 0 },
      fill: () => Promise.reject(new Error("nothing is read before there is memory for it")),
    };
    const error = await failure(store.load!(new Map([["large", tensor]])));
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error.message).toMatch(
      /^"SwiftShader .*" is out of memory: weights and states, "large", ask for 1\.0 GiB\n/,
    );
    expect(error.message).toContain("offloading (--offload) streams them");
    expect(store.names()).toEqual(["small"]);
    expect(Array.from((await store.read("small")).data)).toEqual([1, 2, 3]);
    store.dispose();
    expect([...gpu.memory.heldBytes()]).toEqual([]);
  });

  gpuTest("for activations: nothing is held after", async ({ gpu }) => {
    if (gpu.adapter.vendor !== "google") return;
    const side = Math.sqrt(most(gpu) / 4);
    const x = ops.input("x", "f32", [axis("a", side)]);
    const y = ops.input("y", "f32", [axis("b", side)]);
    const product = ops.mul(x, y);
    const graph = makeGraph("g", [
      { name: "sum", node: ops.reduceSum(product, ["a"]) },
      { name: "all", node: product },
    ]);
    const backend = webgpuBackend(gpu);
    const error = await failure(backend.compile(graph));
    expect(error).toBeInstanceOf(OutOfMemoryError);
    expect(error.message).toMatch(/is out of memory: activations, "slot \d+ of @g", ask for 1\.0 GiB/);
    expect([...gpu.memory.heldBytes().keys()]).not.toContain("activations");
  });
});

describe("a device that is destroyed in the middle", () => {
  const opened = async (): Promise<WebgpuBackend> => webgpuBackend(await requestDevice({ prefer: "software" }));
  const values = (n: number): HostTensor => hostTensor("f32", [axis("n", n)], new Float32Array(n).fill(1));
  const graph = makeGraph("sums", [
    { name: "y", node: ops.reduceSum(ops.input("x", "f32", [axis("n", 5000)]), ["n"]) },
  ]);

  gpuTest("of loading", async () => {
    const backend = await opened();
    const store = backend.createStore();
    const tensor: StoredTensor = {
      axes: [axis("n", 100_000)],
      dtype: "f16",
      stored: "f32",
      place: { file: "", offset: 0 },
      fill: async () => backend.gpu.device.destroy(),
    };
    const error = await failure(
      store.load!(
        new Map([
          ["w", tensor],
          ["v", tensor],
        ]),
      ),
    );
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(error.message).toMatch(/^the device on "SwiftShader.*" was lost while (loading "w" and 1 more|compiling)/);
  });

  gpuTest("of a run", async () => {
    const backend = await opened();
    const executable = await backend.compile(graph);
    const run = executable.run({ x: values(5000) }, backend.createStore());
    await Promise.resolve();
    backend.gpu.device.destroy();
    const error = await failure(run);
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(error.message).toMatch(/ was lost while (reading "y" of @sums back|running @sums, \d+ kernels): /);
  });

  gpuTest("of a read-back", async () => {
    const backend = await opened();
    const store = backend.createStore();
    await store.write("w", values(5000));
    const reading = store.read("w");
    backend.gpu.device.destroy();
    const error = await failure(reading);
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(error.message).toMatch(/ was lost while reading "w" back: /);
  });

  gpuTest("of loading, by whoever opened it: memory that a file is read into stays until it is read", async () => {
    const backend = await opened();
    const store = backend.createStore();
    let [calls, sizes] = [0, 0];
    const tensor: StoredTensor = {
      axes: [axis("n", 100_000)],
      dtype: "f32",
      stored: "f32",
      place: { file: "", offset: 0 },
      fill: async (_, into) => {
        if (calls++ === 0) backend.gpu.dispose();
        await new Promise((resolve) => setTimeout(resolve, 20));
        sizes += into.length;
        into.fill(0);
      },
    };
    const all = new Map(Array.from({ length: 3 }, (_, i) => [`w${i}`, tensor] as const));
    const error = await failure(store.load!(all));
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(sizes).toBe(calls * 400_000); // a detached array would have no length
  });

  gpuTest("by whoever opened it, too", async () => {
    const backend = await opened();
    const store = backend.createStore();
    await store.write("w", values(5000));
    const reading = store.read("w");
    backend.dispose();
    const error = await failure(reading);
    expect(error).toBeInstanceOf(DeviceLostError);
    expect(error.message).toMatch(/ was lost while reading "w" back: it was disposed/);
  });
});
