/**
 * Measures an adapter's peak rates with microbenchmark kernels. Each has a known result, and counts only if it computed
 * that.
 */
import { type kernelIr, UnsupportedError } from "../../../compiler/index.ts";
import type { GpuDevice } from "../runtime/device.ts";
import { mapModeRead, storageBuffer, usage } from "../runtime/memory.ts";
import { Comparison } from "./compare.ts";
import { scoped } from "./error-scope.ts";
import { productRate } from "./product-rate.ts";
import { Samples } from "./samples.ts";
import { type Encode, type Timer, timerOf } from "./timer.ts";

export interface Ceilings {
  /** Bytes read plus bytes written per second by a copy kernel. */
  readonly copy: number;
  /** Operations per second; a multiply-add counts as two. */
  readonly f32: number;
  readonly f16?: number;
  /** The same on matrix units with f16 operands; f32 accumulators if supported. */
  readonly matrices?: number;
  /** Operations per second of heddle's own square matmul, in f32 and in f16 on matrix units. */
  readonly product: number;
  readonly matrixProduct?: number;
  /** Seconds per additional dispatch in a pass, and per submission until it completes. */
  readonly dispatch: number;
  readonly submission: number;
}

/** The ceilings that could not be measured, and why. */
export type Missing = Readonly<Partial<Record<keyof Ceilings, string>>>;

/** Small on software adapters, whose ceilings are a thousandth of a GPU's. */
const amountsOf = ({ adapter, limits }: GpuDevice) =>
  adapter.software
    ? { bytes: 2 ** 24, groups: 64, steps: 64 }
    : {
        bytes: Math.min(2 ** 30, limits.maxStorageBufferBindingSize - (limits.maxStorageBufferBindingSize % 2 ** 20)),
        groups: 4096,
        steps: 512,
      };

const threads = 256;
/** Independent accumulators per subgroup. */
const chains = 8;
/**
 * Independent accumulators per thread, with their vector width. The fastest choice depends on the registers: a GPU
 * wants more accumulators, while a software driver that maps a vec4 to four CPU vector registers would spill with eight
 * of them.
 */
const threadSums = [
  { chains: 8, width: 4 },
  { chains: 4, width: 4 },
  { chains: 16, width: 1 },
] as const satisfies readonly ThreadSums[];
const rounds = 5;

/** Measures everything that the adapter supports. Throws UnsupportedError if a copy or an f32 benchmark fails. */
export async function measureCeilings(gpu: GpuDevice): Promise<{ ceilings: Ceilings; missing: Missing }> {
  const time = timerOf(gpu);
  const missing: Partial<Record<keyof Ceilings, string>> = {};
  const optional = async (name: "f16" | "matrices" | "matrixProduct", body: () => Promise<number>) => {
    try {
      return { [name]: await scoped(gpu, body) };
    } catch (error) {
      if (!(error instanceof UnsupportedError)) throw error;
      missing[name] = error.message.split("\n")[0]!;
      return {};
    }
  };
  const copy = await scoped(gpu, () => copyRate(gpu, time));
  const f32 = await scoped(gpu, () => scalarRate(gpu, time, "f32"));
  const half = await optional("f16", () => scalarRate(gpu, time, "f16"));
  const matrices = await optional("matrices", () => matrixRate(gpu, time));
  const product = await scoped(gpu, () => productRate(gpu, "f32", f32));
  const matrixProduct = await optional("matrixProduct", () => matrixProductRate(gpu, matrices.matrices));
  const products = { product, ...matrixProduct };
  return { ceilings: { copy, f32, ...half, ...matrices, ...products, ...(await overheads(gpu, time)) }, missing };
}

interface Prepared {
  readonly encode: Encode;
  readonly out: GPUBuffer;
  readonly dispose: () => void;
}

/** Prepares a kernel with two buffers: its input and its output. */
async function prepare(
  gpu: GpuDevice,
  code: string,
  given: GPUBuffer,
  outBytes: number,
  grid: readonly [number, number],
): Promise<Prepared> {
  const module = gpu.device.createShaderModule({ label: "ceiling", code });
  const pipeline = await gpu.settle(
    gpu.device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } }),
  );
  const out = storageBuffer(gpu, outBytes, "ceiling");
  const entries = [given, out].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const group = gpu.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
  const encode: Encode = (pass) => {
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(...grid);
  };
  const dispose = () => {
    for (const b of [given, out]) b.destroy();
  };
  return { encode, out, dispose };
}

/** The best of several rounds, in seconds, after one warm-up round. */
async function best(time: Timer, encode: Encode, repetitions: number): Promise<number> {
  const all: number[] = [];
  for (let i = 0; i <= rounds; i++) all.push(await time(encode, repetitions));
  return Math.min(...all.slice(1)) / 1e9;
}

/** Copies 16 bytes per thread. */
async function copyRate(gpu: GpuDevice, time: Timer): Promise<number> {
  const { bytes } = amountsOf(gpu);
  const groups = bytes / 16 / threads;
  const wide = Math.min(groups, 2 ** 12);
  const code = `
@group(0) @binding(0) var<storage, read> given: array<vec4<f32>, ${bytes / 16}>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>, ${bytes / 16}>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let i = (wid.y * ${wide}u + wid.x) * ${threads}u + local;
  out[i] = given[i];
}`;
  const given = storageBuffer(gpu, bytes, "ceiling");
  const samples = new Samples(gpu);
  const encoder = gpu.device.createCommandEncoder();
  samples.fill(encoder, given, "f32");
  gpu.device.queue.submit([encoder.finish()]);
  const kernel = await prepare(gpu, code, given, bytes, [wide, Math.ceil(groups / wide)]);
  try {
    const seconds = await best(time, kernel.encode, 1);
    const apart = await new Comparison(gpu).difference(kernel.out, given, "f32");
    if (apart !== 0) throw new UnsupportedError("a copied buffer differs from its source");
    return (2 * bytes) / seconds;
  } finally {
    kernel.dispose();
    samples.dispose();
  }
}

/** The work of a kernel: workgroups, and steps per thread. */
interface Amount {
  readonly groups: number;
  readonly steps: number;
}

interface ThreadSums {
  readonly chains: number;
  readonly width: 1 | 4;
}

const chainNames = (count: number): string[] => Array.from({ length: count }, (_, i) => `c${i}`);

/** Accumulators that all converge to 0.5: c ← 0.5 c + 0.25, written as in real kernels; GPUs fuse it to one FMA. */
export function scalarShader(dtype: "f32" | "f16", sums: ThreadSums, { groups, steps }: Amount): string {
  const type = sums.width === 1 ? dtype : `vec4<${dtype}>`;
  const names = chainNames(sums.chains);
  const constant = (i: number) => (sums.width === 1 ? `${type}(given[${i}].x)` : `${type}(given[${i}])`);
  return `
${dtype === "f16" ? "enable f16;" : ""}
@group(0) @binding(0) var<storage, read> given: array<vec4<f32>, 2>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>, ${groups * threads}>;
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let a = ${constant(0)};
  let b = ${constant(1)};
  let begin = ${type}(${dtype}(local & 7u));
  ${names.map((c, i) => `var ${c} = begin + ${i};`).join("\n  ")}
  for (var i = 0u; i < ${steps}u; i++) {
    ${names.map((c) => `${c} = ${c} * a + b;`).join("\n    ")}
  }
  out[wid.x * ${threads}u + local] = vec4<f32>(${sums.width === 1 ? `f32(${names.join(" + ")})` : names.join(" + ")});
}`;
}

async function scalarRate(gpu: GpuDevice, time: Timer, dtype: "f32" | "f16"): Promise<number> {
  if (dtype === "f16" && !gpu.features.has("shader-f16")) throw new UnsupportedError("the adapter has no shader-f16");
  const rates: number[] = [];
  for (const sums of threadSums) rates.push(await rateOfSums(gpu, time, dtype, sums));
  return Math.max(...rates);
}

async function rateOfSums(gpu: GpuDevice, time: Timer, dtype: "f32" | "f16", sums: ThreadSums): Promise<number> {
  const { groups, steps: wide } = amountsOf(gpu);
  const steps = (wide * 4) / sums.width;
  const given = storageBuffer(gpu, 32, "ceiling");
  gpu.device.queue.writeBuffer(given, 0, Float32Array.from([0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]));
  const code = scalarShader(dtype, sums, { groups, steps });
  const kernel = await prepare(gpu, code, given, 16 * groups * threads, [groups, 1]);
  try {
    const seconds = await best(time, kernel.encode, 1);
    await expectAll(gpu, kernel.out, () => sums.chains / 2, 1e-2);
    return (2 * sums.width * sums.chains * steps * groups * threads) / seconds;
  } finally {
    kernel.dispose();
  }
}

/** The matrix shape that matmuls prefer: f32 accumulators if available. */
export const shapeOf = (shapes: readonly kernelIr.MatrixShape[]): kernelIr.MatrixShape | undefined =>
  (["f32", "f16"] as const).flatMap((r) => shapes.filter((s) => s.operands === "f16" && s.result === r))[0];

/** Multiplies matrices filled with 1/32, one subgroup per workgroup: each step adds k / 1024 to the accumulators. */
export function matrixShader(
  { m, n, k, result }: kernelIr.MatrixShape,
  lanes: number,
  isChosen: boolean,
  { groups, steps }: Amount,
): string {
  const type = `subgroup_matrix_result<${result}, ${n}, ${m}>`;
  const names = chainNames(chains);
  const store = (c: string, i: number) =>
    `subgroupMatrixStore<row_major>(&out, (wid.x * ${chains}u + ${i}u) * ${m * n}u, ${c}, ${n}u);`;
  return `
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
${isChosen ? "enable subgroup_size_control;" : ""}
@group(0) @binding(0) var<storage, read> given: array<f16, ${k * (m + n)}>;
@group(0) @binding(1) var<storage, read_write> out: array<${result}, ${groups * chains * m * n}>;
@compute @workgroup_size(${lanes})${isChosen ? ` @subgroup_size(${lanes})` : ""}
fn main(@builtin(workgroup_id) wid: vec3<u32>) {
  let left = subgroupMatrixLoad<subgroup_matrix_left<f16, ${k}, ${m}>, row_major>(&given, 0u, ${k}u);
  let right = subgroupMatrixLoad<subgroup_matrix_right<f16, ${n}, ${k}>, row_major>(&given, ${m * k}u, ${n}u);
  ${names.map((c, i) => `var ${c} = ${type}(${result}(${i}));`).join("\n  ")}
  for (var i = 0u; i < ${steps}u; i++) {
    ${names.map((c) => `${c} = subgroupMatrixMultiplyAccumulate(left, right, ${c});`).join("\n    ")}
  }
  ${names.map(store).join("\n  ")}
}`;
}

/** Throws UnsupportedError if matmuls do not use matrix units. */
async function matrixProductRate(gpu: GpuDevice, matrices: number | undefined): Promise<number> {
  if (matrices === undefined) throw new UnsupportedError("the adapter exposes no matrix units through WebGPU");
  return await productRate(gpu, "f16", matrices);
}

async function matrixRate(gpu: GpuDevice, time: Timer): Promise<number> {
  const shape = shapeOf(gpu.adapter.subgroupMatrices);
  if (!shape) throw new UnsupportedError("the adapter exposes no matrix units through WebGPU");
  const { m, n, k, result } = shape;
  const amount = amountsOf(gpu);
  const { groups, steps } = amount;
  const { min, max } = gpu.adapter.subgroupSize;
  const isChosen = min !== max && gpu.features.has("subgroup-size-control");
  const elements = k * (m + n);
  const given = storageBuffer(gpu, 2 * elements, "ceiling");
  gpu.device.queue.writeBuffer(given, 0, new Float16Array(elements).fill(2 ** -5));
  const each = result === "f32" ? 4 : 2;
  const code = matrixShader(shape, max, isChosen, amount);
  const kernel = await prepare(gpu, code, given, each * groups * chains * m * n, [groups, 1]);
  try {
    const seconds = await best(time, kernel.encode, 1);
    const sum = (steps * k) / 1024;
    await expectAll(gpu, kernel.out, (i) => (Math.floor(i / (m * n)) % chains) + sum, 1e-2, result === "f16");
    return (2 * m * n * k * chains * steps * groups) / seconds;
  } finally {
    kernel.dispose();
  }
}

/** Throws UnsupportedError if elements at the start of a buffer are not as expected. */
async function expectAll(
  { device, settle }: GpuDevice,
  buffer: GPUBuffer,
  want: (i: number) => number,
  tolerance: number,
  half = false,
): Promise<void> {
  const size = Math.min(buffer.size, 2 ** 14);
  const staging = device.createBuffer({ size, usage: usage.mapRead | usage.copyDst });
  const encoder = device.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, 0, staging, 0, size);
  device.queue.submit([encoder.finish()]);
  await settle(staging.mapAsync(mapModeRead));
  const bytes = staging.getMappedRange().slice(0);
  staging.destroy();
  const got = half ? new Float16Array(bytes) : new Float32Array(bytes);
  const wrong = got.findIndex((v, i) => !(Math.abs(v - want(i)) <= tolerance * Math.abs(want(i))));
  if (wrong >= 0) throw new UnsupportedError(`the timed kernel computed ${got[wrong]}, expected ${want(wrong)}`);
}

const dispatches = 200;

/** Times a near-empty dispatch, both back to back with others and in its own submission. */
async function overheads(gpu: GpuDevice, time: Timer): Promise<Pick<Ceilings, "dispatch" | "submission">> {
  const code = `
@group(0) @binding(0) var<storage, read> given: array<u32, 4>;
@group(0) @binding(1) var<storage, read_write> out: array<u32, 4>;
@compute @workgroup_size(1)
fn main() { out[0] = given[0]; }`;
  const { encode, dispose } = await prepare(gpu, code, storageBuffer(gpu, 16, "ceiling"), 16, [1, 1]);
  const submissions: number[] = [];
  for (let i = 0; i < 20; i++) {
    const encoder = gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    encode(pass);
    pass.end();
    const commands = encoder.finish();
    const begun = performance.now();
    gpu.device.queue.submit([commands]);
    await gpu.settle(gpu.device.queue.onSubmittedWorkDone());
    submissions.push((performance.now() - begun) / 1000);
  }
  const dispatch = await best(time, encode, dispatches);
  dispose();
  return { dispatch, submission: submissions.sort((a, b) => a - b)[submissions.length >> 1]! };
}
