/** Tensors loaded from files: the same bits as read by the host, through two staging buffers and nothing else. */
import { mkdtempSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import type { StoredFloat, StoredTensor } from "../../backends/backend.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import type { Allocation, DeviceMemory } from "../../backends/webgpu/runtime/device-memory.ts";
import { chunksOf, pieceBytes } from "../../backends/webgpu/runtime/loading/chunks.ts";
import { Loader } from "../../backends/webgpu/runtime/loading/loader.ts";
import { storageBuffer, usage } from "../../backends/webgpu/runtime/memory.ts";
import { DeviceStore } from "../../backends/webgpu/runtime/store.ts";
import { bindSizes, type HostTensor, hostTensor, inputName, keepParametersAs } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { deviceModel, openWeights, tensorToWrite, writeSafetensors } from "../../runtime/index.ts";
import { decodeInto } from "../../runtime/safetensors/stored-dtype.ts";
import tiny from "../cli/tiny-model.ts";
import { anyWeights } from "../models/support.ts";
import { gpuTest } from "../support/adapter.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-loading-"));
afterAll(() => rmSync(folder, { recursive: true }));

const elementBytes = { f32: 4, f16: 2, bf16: 2 } as const;

/** A tensor of one axis whose bytes are given. */
const ofBytes = (
  bytes: Uint8Array<ArrayBuffer>,
  stored: StoredFloat,
  dtype: "f32" | "f16",
  more: Partial<StoredTensor> = {},
): StoredTensor => ({
  axes: [{ name: "n", size: bytes.length / elementBytes[stored] }],
  dtype,
  stored,
  place: { file: "memory", offset: 0 },
  fill: async (at, into) => into.set(bytes.subarray(at, at + into.length)),
  ...more,
});

const storeWith = (gpu: GpuDevice, chunkBytes?: number) => new DeviceStore(gpu, new Loader(gpu, chunkBytes), () => {});

const bitsOf = ({ data }: HostTensor): Uint16Array | Uint32Array =>
  data.BYTES_PER_ELEMENT === 2
    ? new Uint16Array(data.buffer, data.byteOffset, data.length)
    : new Uint32Array(data.buffer, data.byteOffset, data.length);

/** What the host makes of stored bytes, as bits. */
function hostBits(bytes: Uint8Array<ArrayBuffer>, stored: StoredFloat, dtype: "f32" | "f16"): number[] {
  const count = bytes.length / elementBytes[stored];
  const out = dtype === "f32" ? new Float32Array(count) : new Float16Array(count);
  const types = { f32: "F32", f16: "F16", bf16: "BF16" } as const;
  decodeInto(types[stored], dtype, bytes, out, 0);
  return Array.from(bitsOf({ dtype, axes: [], data: out }));
}

/** All halves but NaN, infinities and what f16 does not reach; f32 at every edge of f16's rounding. */
function allFloats(stored: StoredFloat, dtype: "f32" | "f16"): Uint8Array<ArrayBuffer> {
  if (stored === "f32") {
    const values = Float32Array.from({ length: 70_001 }, (_, i) => {
      const bits = Uint32Array.of((i * 2654435761) >>> 0);
      return new Float32Array(bits.buffer)[0]!;
    });
    const edges = [65504, 65519.996, 2 ** -24, 2 ** -25, 1.5 * 2 ** -25, 2 ** -14, 2 ** -14 - 2 ** -25, -0, 0, 1e-45];
    const steps = Array.from({ length: 4000 }, (_, i) => (1 + i / 4096) * 2 ** ((i % 40) - 26));
    const most = dtype === "f16" ? 65519 : 3.4e38;
    const kept = [...values, ...edges, ...steps].filter((v) => Math.abs(v) <= most);
    return new Uint8Array(Float32Array.from(kept).buffer);
  }
  const exponent = stored === "f16" ? 0x7c00 : 0x7f80;
  const halves = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) => {
    if ((h & exponent) === exponent) return false;
    const size = new Float32Array(Uint32Array.of((h & 0x7fff) << 16).buffer)[0]!;
    return !(stored === "bf16" && dtype === "f16" && size > 65519);
  });
  return new Uint8Array(halves.buffer);
}

const kinds = (["f32", "f16", "bf16"] as const).flatMap((stored) =>
  (["f32", "f16"] as const).map((dtype) => [stored, dtype] as const),
);

describe("what is loaded", () => {
  gpuTest.for(kinds)(
    "%s as %s has the host's bits, across the ends of staging buffers",
    async ([stored, dtype], { gpu }) => {
      const bytes = allFloats(stored, dtype);
      const store = storeWith(gpu, 16 * 1024 + 48);
      const faults: number[] = [];
      const notFinite = async (element: number) => {
        faults.push(element);
        return new Error(`element ${element}`);
      };
      await store.load(new Map([["all", ofBytes(bytes, stored, dtype, { notFinite })]]));
      const got = Array.from(bitsOf(await store.read("all")));
      const want = hostBits(bytes, stored, dtype);
      // A NaN or infinity of the pattern of f32 was filtered out: nothing is left to be told.
      expect(faults).toEqual([]);
      expect(got.findIndex((g, i) => g !== want[i])).toBe(-1);
      expect(got).toHaveLength(want.length);
      store.dispose();
    },
  );

  gpuTest("many tensors of any sizes, several to a staging buffer", async ({ gpu }) => {
    const sizes = fc.sample(fc.integer({ min: 1, max: 3000 }), { numRuns: 60, seed: 5 });
    const kindOf = (i: number) => kinds[i % kinds.length]!;
    const all = sizes.map((n, i) => {
      const [stored] = kindOf(i);
      const values = Float32Array.from({ length: n }, (_, k) => ((k * 37 + i) % 1001) / 8 - 60);
      const halves = Uint16Array.from(new Uint32Array(values.buffer), (b) => b >>> 16);
      const view = stored === "f32" ? values : stored === "f16" ? new Float16Array(values) : halves;
      return new Uint8Array(view.buffer);
    });
    const store = storeWith(gpu, 5000);
    const tensors = new Map(
      all.map((bytes, i) => {
        const [stored, dtype] = kindOf(i);
        const place = { file: `${i % 3}`, offset: (i * 7919) % 60 };
        return [
          `t${i}`,
          ofBytes(bytes, stored, dtype, { place, notFinite: async () => new Error("none is") }),
        ] as const;
      }),
    );
    await store.load(tensors);
    for (const [i, bytes] of all.entries()) {
      const [stored, dtype] = kindOf(i);
      expect(Array.from(bitsOf(await store.read(`t${i}`))), `t${i}`).toEqual(hostBits(bytes, stored, dtype));
    }
    store.dispose();
  });

  gpuTest("is written over what the store has of the same type", async ({ gpu }) => {
    const store = storeWith(gpu);
    const bytes = (value: number) => new Uint8Array(new Float32Array(5).fill(value).buffer);
    await store.load(new Map([["w", ofBytes(bytes(1), "f32", "f32")]]));
    const { buffer } = store.tensor("w");
    await store.load(new Map([["w", ofBytes(bytes(2), "f32", "f32")]]));
    expect(store.tensor("w").buffer).toBe(buffer);
    expect(Array.from((await store.read("w")).data)).toEqual([2, 2, 2, 2, 2]);
    await store.load(new Map([["w", ofBytes(bytes(3), "f32", "f16")]]));
    expect(Array.from((await store.read("w")).data)).toEqual([3, 3, 3, 3, 3]);
    store.dispose();
  });
});

gpuTest("large values of the host go the same way", async ({ gpu }) => {
  const store = storeWith(gpu, 2 ** 20);
  const axes = [{ name: "n", size: 2 ** 20 + 3 }];
  const integers = Int32Array.from({ length: axes[0]!.size }, (_, i) => (i % 2 ? -1 : 0x7fc00001) - i);
  const halves = Float16Array.from(integers, (v) => v % 2048);
  const booleans = Uint8Array.from(integers, (v) => v & 1);
  await store.write("i", hostTensor("i32", axes, integers));
  await store.write("h", hostTensor("f16", axes, halves));
  await store.write("b", hostTensor("bool", axes, booleans));
  for (const [name, want] of [
    ["i", integers],
    ["h", halves],
    ["b", booleans],
  ] as const) {
    const { data } = await store.read(name);
    expect(data.length).toBe(want.length);
    expect(
      want.findIndex((v, i) => v !== data[i]),
      name,
    ).toBe(-1);
  }
  store.dispose();
});

describe("faults", () => {
  const big = new Float32Array(3000).fill(1);
  const withAt = (at: number, value: number) => {
    const values = big.slice();
    values[at] = value;
    values[at + 100] = value;
    return new Uint8Array(values.buffer);
  };
  const told = { notFinite: async (element: number) => new Error(`element ${element}`) };

  gpuTest.for([
    ["NaN", 2047, Number.NaN, "f32"],
    ["an infinity", 0, Number.NEGATIVE_INFINITY, "f16"],
    ["what f16 cannot hold", 1025, 65520, "f16"],
  ] as const)("%s is told by its first element", async ([, at, value, dtype], { gpu }) => {
    const store = storeWith(gpu, 4096);
    const load = store.load(
      new Map([
        ["good", ofBytes(new Uint8Array(big.buffer), "f32", "f32", told)],
        ["bad", ofBytes(withAt(at, value), "f32", dtype, told)],
      ]),
    );
    await expect(load).rejects.toThrow(`element ${at}`);
    expect(store.names()).toEqual([]);
    store.dispose();
  });

  gpuTest("of reading end the load when nothing is under way any more", async ({ gpu }) => {
    const store = storeWith(gpu, 4096);
    let [open, calls] = [0, 0];
    const fill: StoredTensor["fill"] = async (_, into) => {
      open++;
      await new Promise((resolve) => setTimeout(resolve, 5));
      open--;
      if (calls++ === 3) throw new Error("the disk went away");
      into.fill(0);
    };
    const load = store.load(new Map([["w", ofBytes(new Uint8Array(40_000), "f32", "f32", { fill })]]));
    await expect(load).rejects.toThrow("the disk went away");
    expect(open).toBe(0);
    expect(calls).toBeLessThan(8);
    expect(store.names()).toEqual([]);
    await store.load(new Map([["w", ofBytes(new Uint8Array(40_000), "f32", "f32")]]));
    expect(store.names()).toEqual(["w"]);
    store.dispose();
  });

  gpuTest.for([
    ["a fill", { fill: () => Promise.reject(new DOMException("left", "AbortError")) }],
    [
      "the reason for a fault",
      {
        fill: async (_: number, into: Uint8Array) => void into.fill(255),
        notFinite: () => Promise.reject(new DOMException("left", "AbortError")),
      },
    ],
  ] as [string, Partial<StoredTensor>][])(
    "of a request that its caller aborted are not of a device (%s)",
    async ([, more], { gpu }) => {
      const store = storeWith(gpu, 4096);
      const load = store.load(new Map([["w", ofBytes(new Uint8Array(4000), "f32", "f32", more)]]));
      await expect(load).rejects.toMatchObject({ name: "AbortError", message: "left" });
      store.dispose();
    },
  );
});

describe("memory", () => {
  gpuTest("is two staging buffers, into which files are read, and no byte is copied in it", async ({ gpu }) => {
    const path = join(folder, "large.bin");
    const [elements, chunk] = [600_001, 256 * 1024];
    const values = Float32Array.from({ length: elements }, (_, i) => i % 2039);
    const file = await open(path, "w+");
    await file.write(new Uint8Array(values.buffer));
    const created: Allocation[] = [];
    let written = 0;
    const { device } = gpu;
    const queue = new Proxy(device.queue, {
      get: (target, name) => {
        if (name === "writeBuffer")
          return (buffer: GPUBuffer, at: number, data: Uint32Array<ArrayBuffer>) => {
            written += data.byteLength;
            target.writeBuffer(buffer, at, data);
          };
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const watched = new Proxy(device, {
      get: (target, name) => {
        if (name === "queue") return queue;
        const value = Reflect.get(target, name, target) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
    const memory = Object.create(gpu.memory) as DeviceMemory;
    memory.allocate = (asked) => {
      created.push(asked);
      return gpu.memory.allocate(asked);
    };
    const counted = { ...gpu, device: watched, memory };
    const memories = new Set<ArrayBuffer>();
    let read = 0;
    const fill: StoredTensor["fill"] = async (at, into) => {
      memories.add(into.buffer);
      const { bytesRead } = await file.read(into, 0, into.length, at);
      read += bytesRead;
    };
    const tensor = ofBytes(new Uint8Array(values.buffer), "f32", "f32", { fill, notFinite: async () => new Error("") });
    const buffer = storageBuffer(gpu, 4 * elements, "large", "weights and states");
    await new Loader(counted, chunk).load([{ name: "large", tensor, buffer }]);
    await file.close();

    const staging = created.filter((d) => d.usage & usage.mapWrite);
    expect(staging.map((d) => d.bytes)).toEqual([chunk, chunk]);
    expect(gpu.memory.heldBytes().get("staging")).toBeUndefined(); // all of it is free again
    expect(read).toBe(4 * elements); // each byte once
    expect([...memories].every((m) => m.byteLength === 0)).toBe(true); // all were the device's, and are detached
    expect(memories.size).toBe(Math.ceil((4 * elements) / chunk));
    expect(written).toBeLessThan(0.01 * 4 * elements); // parameters of dispatches
    buffer.destroy();
  });
});

test("chunks hold every element once, in the order of the file, none larger than is said", () => {
  const tensor = fc.record({
    n: fc.integer({ min: 0, max: 5000 }),
    stored: fc.constantFrom("f32" as const, "f16" as const, "bf16" as const),
    offset: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(tensor, { maxLength: 12 }), fc.integer({ min: 64, max: 1000 }), (list, sixteenths) => {
      const most = 16 * sixteenths;
      const tensors = list.map(({ n, stored, offset }) =>
        ofBytes(new Uint8Array(n * elementBytes[stored]), stored, "f32", { place: { file: "f", offset } }),
      );
      const seen = tensors.map(() => 0);
      let last = -1;
      for (const { pieces, bytes } of chunksOf(tensors, most)) {
        expect(bytes).toBeLessThanOrEqual(most);
        let free = 0;
        for (const piece of pieces) {
          expect(piece.first).toBe(seen[piece.index]);
          expect(piece.at % 16).toBe(0);
          expect(piece.at).toBeGreaterThanOrEqual(free);
          free = piece.at + pieceBytes(piece);
          seen[piece.index]! += piece.count;
          expect(tensors[piece.index]!.place.offset).toBeGreaterThanOrEqual(last);
          last = tensors[piece.index]!.place.offset;
        }
        expect(free).toBeLessThanOrEqual(bytes);
      }
      expect(seen).toEqual(list.map((t) => t.n));
    }),
  );
});

const ways = (["f32", "f16"] as const).flatMap((dtype) => [
  [dtype, "host", true] as const,
  [dtype, "device", false] as const,
]);

gpuTest.for(ways)(
  "a model whose weights lie in a file, kept as %s, converted by the %s",
  async (way, { gpu: opened }) => {
    const [dtype, , software] = way;
    const gpu = { ...opened, adapter: { ...opened.adapter, software } };
    const { vision, text } = tiny.config;
    const graph = trace(tiny, { vision: { ...vision, depth: 1 }, text: { ...text, depth: 1 } });
    const weights = anyWeights(graph, 4);
    const path = join(folder, `${dtype}.safetensors`);
    const tensors = [...weights].map(([name, tensor]) => tensorToWrite(name, tensor));
    await writeSafetensors(path, tensors);
    const source = await openWeights(path, graph);
    const model = deviceModel(webgpuBackend(gpu), source);
    const kept = bindSizes(keepParametersAs(graph, dtype), { batch: 1 });
    const session = await model.session(kept);
    const dtypes = new Map(kept.inputs.map((n) => [inputName(n), n.type.dtype]));
    expect([...dtypes.values()]).toContain(dtype);
    for (const [name, { data }] of weights) {
      const held = await model.store.read(name);
      expect(held.dtype).toBe(dtypes.get(name));
      expect(Array.from(held.data), name).toEqual(Array.from(held.dtype === "f16" ? new Float16Array(data) : data));
    }
    session.dispose();
    await source.dispose();

    const name = [...weights.keys()].findLast((n) => dtypes.get(n) === dtype)!;
    const { axes, data } = weights.get(name)!;
    const broken = hostTensor(
      "f32",
      axes,
      Float32Array.from(data, (v, i) => (i === data.length - 1 ? 70000 : v)),
    );
    await writeSafetensors(
      path,
      [...weights].map(([n, tensor]) => tensorToWrite(n, n === name ? broken : tensor)),
    );
    const other = await openWeights(path, graph);
    const loading = deviceModel(webgpuBackend(gpu), other).session(kept);
    if (dtype === "f32") (await loading).dispose();
    else
      await expect(loading).rejects.toThrow(`tensor "${name}", element ${data.length - 1}: 70000 is outside the range`);
    await other.dispose();
  },
);
