/**
 * What a bundle asks of a device, and what run.js says of one that has not got it: on adapters that are not at hand.
 */
import { expect, test } from "vitest";
import { loadBundle } from "../../backends/webgpu/bundle/run.js";
import { compileBundle, typicalFacts } from "../../backends/webgpu/index.ts";
import { kernelIr, makeGraph, ops, type Precision } from "../../compiler/index.ts";

const axis = (name: string, size: number) => ({ name, size });
const product = makeGraph("product", [
  {
    name: "y",
    node: ops.contract(
      ops.input("x", "f32", [axis("row", 256), axis("k", 256)]),
      ops.input("w", "f32", [axis("column", 256), axis("k", 256)]),
      ["k"],
    ),
  },
]);

const made = (name: keyof typeof kernelIr.recordedAdapters, precision: Precision = "f32") => {
  const { facts } = kernelIr.recordedAdapters[name];
  return compileBundle(product, { facts: { ...typicalFacts, ...facts }, precision }).manifest;
};

const enough = {
  maxBufferSize: 2 ** 30,
  maxStorageBufferBindingSize: 2 ** 30,
  maxStorageBuffersPerShaderStage: 10,
  maxComputeWorkgroupStorageSize: 2 ** 16,
  maxComputeInvocationsPerWorkgroup: 1024,
  maxComputeWorkgroupSizeX: 1024,
  maxComputeWorkgroupSizeY: 1024,
  maxComputeWorkgroupSizeZ: 64,
  maxComputeWorkgroupsPerDimension: 65535,
};

interface Offered {
  readonly features?: readonly string[];
  readonly limits?: Readonly<Record<string, number>>;
  /** Absent where the browser does not say. */
  readonly lanes?: readonly [min: number, max: number];
  readonly matrices?: readonly object[];
}

/** What loading says on a device that has only what is asked about here, and makes nothing. */
async function said(manifest: object, { features = [], limits = {}, lanes, matrices = [] }: Offered): Promise<string> {
  const [subgroupMinSize, subgroupMaxSize] = lanes ?? [];
  const device = {
    features: new Set(features),
    limits: { ...enough, ...limits },
    adapterInfo: {
      vendor: "maker",
      architecture: "kind",
      subgroupMinSize,
      subgroupMaxSize,
      subgroupMatrixConfigs: matrices,
    },
    createBuffer: () => {
      throw new Error("accepted");
    },
  };
  const read = async () => new TextEncoder().encode(JSON.stringify(manifest));
  return await loadBundle("https://none/", { device, read }).then(
    () => "loaded",
    (error: Error) => error.message,
  );
}

const given =
  "hint: request the device with the features and limits in manifest.json, or pass none to have it requested";
const compile =
  "hint: heddle compile without --adapter makes one that runs on nearly every GPU, with --adapter one for yours";
const error = (...lines: readonly string[]) =>
  [`the device (maker kind) does not meet the requirements of the model:`, ...lines, given, compile].join("\n  ");

test("kernels for the one subgroup size of an adapter ask for no choice, and run on no other", async () => {
  const manifest = made("swiftshader");
  expect(manifest.requires).toMatchObject({ features: ["subgroups"], subgroups: { min: 4, max: 4, chosen: false } });
  const features = ["subgroups"];
  expect(await said(manifest, { features, lanes: [4, 4] })).toBe("accepted");
  const only = "subgroups of 4 lanes and no others,";
  expect(await said(manifest, { features, lanes: [32, 32] })).toBe(error(`${only} it has 32`));
  expect(await said(manifest, { features, lanes: [4, 32] })).toBe(error(`${only} it has 4 to 32`));
  expect(await said(manifest, { features })).toBe(error(`${only} its sizes are unknown`));
});

test("kernels that choose their subgroup size run wherever it can be had", async () => {
  const manifest = made("intel-xe2", "f16");
  const { features, subgroups, matrices } = manifest.requires;
  expect(features).toContain("subgroup-size-control");
  expect(subgroups?.chosen).toBe(true);
  const has = matrices.map((m) => ({
    M: m.m,
    N: m.n,
    K: m.k,
    componentType: m.operands,
    resultComponentType: m.result,
  }));
  expect(has.length).toBeGreaterThan(0);
  const { min, max } = subgroups!;
  expect(await said(manifest, { features, lanes: [min / 2, max], matrices: has })).toBe("accepted");
  const other = await said(manifest, { features, lanes: [2 * max, 2 * max], matrices: has });
  expect(other).toContain(`subgroups of ${min === max ? min : `${min} to ${max}`} lanes, it has ${2 * max}\n`);
  const none = await said(manifest, { features, lanes: [min, max] });
  expect(none).toMatch(/:\n {2}subgroup matrices 8x16x16 of f16 summed in f\d\d, it has none\n/);
});

test("all that is missing is told at once", async () => {
  const manifest = made("swiftshader");
  const limits = { maxBufferSize: 1000, maxComputeInvocationsPerWorkgroup: 1 };
  const { maxBufferSize, maxComputeInvocationsPerWorkgroup } = manifest.requires.limits;
  expect(await said(manifest, { limits, lanes: [4, 4] })).toBe(
    error(
      "subgroups, which it lacks",
      `maxBufferSize ${maxBufferSize}, it has 1000`,
      `maxComputeInvocationsPerWorkgroup ${maxComputeInvocationsPerWorkgroup}, it has 1`,
    ),
  );
});

test("a kernel that does not compile is told, and neither buffers nor the file of weights stay open", async () => {
  const weight = ops.parameter("w", "f32", [axis("i", 256)], { kind: "constant", value: 1 });
  const scaled = ops.mul(ops.input("x", "f32", [axis("i", 256)]), weight);
  const { manifest } = compileBundle(makeGraph("scaled", [{ name: "y", node: scaled }]));
  const counts = { destroyed: 0, written: 0 };
  const [freed, closed] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const device = {
    features: new Set(),
    limits: enough,
    queue: { writeBuffer: () => counts.written++ },
    createShaderModule: () => ({}),
    createComputePipelineAsync: () => Promise.reject(new Error("no such instruction")),
    createBuffer: () => ({
      destroy: () => {
        counts.destroyed++;
        freed.resolve();
      },
    }),
  };
  const header = JSON.stringify({ w: { dtype: "F32", shape: [256], data_offsets: [0, 1024] } });
  const chunks = [
    new Uint8Array(BigUint64Array.of(BigInt(header.length)).buffer),
    new TextEncoder().encode(header),
    new Uint8Array(1024), // comes when the buffers are gone
  ];
  const weights = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (chunks.length === 1) await freed.promise;
      controller.enqueue(chunks.shift()!);
    },
    cancel: () => closed.resolve(),
  });
  const read = async (name: string) =>
    name === "weights.safetensors" ? weights : new TextEncoder().encode(JSON.stringify(manifest));
  await expect(loadBundle("https://none/", { device, read })).rejects.toThrow("no such instruction");
  await closed.promise;
  expect(counts).toEqual({ destroyed: manifest.buffers.length, written: 0 });
});

test("a bundle for any GPU asks for no feature and no more than guaranteed limits", () => {
  const { requires } = compileBundle(product).manifest;
  expect(requires).toMatchObject({ features: [], matrices: [] });
  expect(requires.subgroups).toBeUndefined();
  expect(requires.limits.maxComputeInvocationsPerWorkgroup).toBeLessThanOrEqual(256);
  expect(requires.limits.maxComputeWorkgroupStorageSize).toBeLessThanOrEqual(16384);
});
