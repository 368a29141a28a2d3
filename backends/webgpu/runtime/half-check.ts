/**
 * Checks that a driver's f16 conforms to WGSL: a tiny kernel converts, adds, multiplies and moves halves with known
 * results. Dawn hides f16 on drivers it distrusts; node-instance.ts overrides this where it would cost the matrix
 * units, so the check runs at each start. A result may be either neighbor of the exact one, and subnormals may be
 * flushed to 0 (WGSL 15.7).
 */
import { mapModeRead, usage } from "./flags.ts";

/** Halves per thread: 16 bytes, loaded as one vector. */
const perThread = 8;
const threads = 8;
const count = perThread * threads;

export const halfCheckWgsl = `enable f16;
@group(0) @binding(0) var<storage, read> fours: array<vec4<f16>, ${count / 4}>;
@group(0) @binding(1) var<storage, read> words: array<vec4<u32>, ${threads}>;
@group(0) @binding(2) var<storage, read> singles: array<f16, ${count}>;
@group(0) @binding(3) var<storage, read> floats: array<f32, ${count}>;
@group(0) @binding(4) var<storage, read_write> sums: array<f16, ${2 * count}>;
@group(0) @binding(5) var<storage, read_write> products: array<vec4<f16>, ${count / 4}>;
@group(0) @binding(6) var<storage, read_write> moved: array<vec4<u32>, ${threads}>;
@group(0) @binding(7) var<storage, read_write> widened: array<f32, ${2 * count}>;
@compute @workgroup_size(${threads})
fn main(@builtin(local_invocation_index) lid: u32) {
  let first = lid * ${perThread}u;
  let eight = words[lid];
  for (var i = 0u; i < ${perThread}u; i++) {
    let at = first + i;
    sums[at] = singles[at] + singles[${count - 1}u - at];
    sums[${count}u + at] = f16(floats[at]);
    widened[at] = f32(bitcast<vec2<f16>>(eight[i / 2u])[i % 2u]);
    widened[${count}u + at] = unpack2x16float(eight[i / 2u])[i % 2u];
  }
  for (var i = 0u; i < 2u; i++) {
    let at = 2u * lid + i;
    products[at] = fours[at] * fours[${count / 4 - 1}u - at];
  }
  let low = fours[2u * lid];
  let high = fours[2u * lid + 1u];
  moved[lid] = vec4<u32>(bitcast<vec2<u32>>(low), bitcast<vec2<u32>>(high));
}
`;

/** Range limits, neighbors of powers of two, subnormals, zeros of both signs, and arbitrary values. */
const ends = [65504, -65504, 2 ** -14, -(2 ** -14), 2 ** -24, -(2 ** -15), 0, -0, 1, -1, 2047, 2048, 1 + 2 ** -10];
const halves = Float16Array.from({ length: count }, (_, i) => ends[i] ?? Math.sin(7 * i) * 2 ** ((i % 19) - 9));

/** Values between two halves, ties in both directions, and values beyond the largest half. */
const between = [2049, 2051, 1 + 2 ** -11, 1 + 3 * 2 ** -11, 65503, 65519, 65520, 1e6, -1e6, 1e-5, 1e-9, 1 / 3, -0.1];
const floats = Float32Array.from({ length: count }, (_, i) => between[i] ?? Math.cos(5 * i) * 2 ** ((i % 29) - 14));

/** The kernel's results. */
export interface HalfResults {
  readonly sums: Float16Array;
  readonly products: Float16Array;
  readonly moved: Float16Array;
  readonly widened: Float32Array;
}

const largest = 65504;
const smallestNormal = 2 ** -14;

/** The values that a half may be read as: subnormals may be flushed to 0. */
const readings = (x: number): readonly number[] => (Math.abs(x) < smallestNormal ? [x, 0] : [x]);

/**
 * True for either half next to the exact result. On overflow, accepts NaN, infinity or the largest half of that sign.
 */
function isNear(got: number, exact: number): boolean {
  if (Math.abs(exact) > largest)
    return Number.isNaN(got) || (Math.sign(got) === Math.sign(exact) && Math.abs(got) >= largest);
  if (got === exact || (got === 0 && Math.abs(exact) < smallestNormal)) return true;
  const last = 2 ** Math.max(Math.floor(Math.log2(Math.abs(exact))) - 10, -24);
  return Math.abs(got - exact) < last;
}

/** Describes the first result that is not allowed; undefined if all are right. */
export function wrongHalf({ sums, products, moved, widened }: HalfResults): string | undefined {
  for (let i = 0; i < count; i++) {
    const [a, b, x] = [halves[i]!, halves[count - 1 - i]!, floats[i]!];
    // The kernel reverses the order of the vec4s, but not of their elements.
    const c = halves[count - 4 - (i - (i % 4)) + (i % 4)]!;
    const pairs = (other: number) => readings(a).flatMap((p) => readings(other).map((q) => [p, q] as const));
    const found: readonly (readonly [string, number, readonly number[]])[] = [
      [`${a} + ${b}`, sums[i]!, pairs(b).map(([p, q]) => p + q)],
      [`${a} * ${c}`, products[i]!, pairs(c).map(([p, q]) => p * q)],
      [`f16(${x})`, sums[count + i]!, [x]],
    ];
    const wrong = found.find(([, got, exact]) => !exact.some((e) => isNear(got, e)));
    if (wrong) return `${wrong[0]} is ${wrong[1]}`;
    const same = [moved[i]!, widened[i]!, widened[count + i]!].find((got) => !readings(a).includes(got));
    if (same !== undefined) return `${a} is read as ${same}`;
  }
  return undefined;
}

type Wait = <T>(pending: Promise<T>) => Promise<T>;

/** Runs the kernel. Returns what is wrong with the device's f16, as a phrase; undefined if it can be trusted. */
export async function halfFault(device: GPUDevice, wait: Wait, code = halfCheckWgsl): Promise<string | undefined> {
  device.pushErrorScope("validation");
  device.pushErrorScope("internal");
  const results = await run(device, wait, code).catch((cause: unknown) => cause);
  const refused = [await wait(device.popErrorScope()), await wait(device.popErrorScope())].find((e) => e !== null);
  if (refused) return `its f16 kernels are rejected: ${refused.message}`;
  if (results instanceof Error) return `an f16 kernel fails: ${results.message}`;
  return wrongHalf(results as HalfResults);
}

async function run(device: GPUDevice, wait: Wait, code: string): Promise<HalfResults> {
  const made: GPUBuffer[] = [];
  const buffer = (size: number, flags: number) => {
    made.push(device.createBuffer({ size, usage: flags, label: "f16 check" }));
    return made.at(-1)!;
  };
  const input = (data: Float16Array | Float32Array) => {
    const own = buffer(data.byteLength, usage.storage | usage.copyDst);
    // The buffer, not the view: Dawn in Node does not know Float16Array, and divides by 0.
    device.queue.writeBuffer(own, 0, data.buffer as ArrayBuffer);
    return own;
  };
  try {
    const [half, float] = [input(halves), input(floats)];
    const outputs = outputBytes.map((size) => buffer(size, usage.storage | usage.copySrc));
    const total = outputBytes.reduce((n, s) => n + s, 0);
    const back = buffer(total, usage.mapRead | usage.copyDst);
    const module = device.createShaderModule({ code, label: "f16 check" });
    const pipeline = await wait(
      device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } }),
    );
    device.queue.submit([commands(device, pipeline, [half, half, half, float], outputs, back)]);
    await wait(back.mapAsync(mapModeRead));
    return resultsIn(back.getMappedRange().slice(0));
  } finally {
    for (const b of made) b.destroy();
  }
}

/** Sizes of the outputs in bytes, in the order of their bindings. */
const outputBytes = [4 * count, 2 * count, 2 * count, 8 * count];

/** One dispatch, and the copies of its outputs, one after another, into `back`. */
function commands(
  device: GPUDevice,
  pipeline: GPUComputePipeline,
  inputs: readonly GPUBuffer[],
  outputs: readonly GPUBuffer[],
  back: GPUBuffer,
): GPUCommandBuffer {
  const entries = [...inputs, ...outputs].map((b, binding) => ({ binding, resource: { buffer: b } }));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(1);
  pass.end();
  let at = 0;
  outputs.forEach((output, i) => {
    encoder.copyBufferToBuffer(output, 0, back, at, outputBytes[i]!);
    at += outputBytes[i]!;
  });
  return encoder.finish();
}

const resultsIn = (bytes: ArrayBuffer): HalfResults => ({
  sums: new Float16Array(bytes, 0, 2 * count),
  products: new Float16Array(bytes, 4 * count, count),
  moved: new Float16Array(bytes, 6 * count, count),
  widened: new Float32Array(bytes, 8 * count, 2 * count),
});

/** The results of a conforming device, rounded to nearest: tests corrupt one and expect it to be found. */
export const rightHalves = (): HalfResults => ({
  sums: Float16Array.from({ length: 2 * count }, (_, i) =>
    i < count ? halves[i]! + halves[count - 1 - i]! : floats[i - count]!,
  ),
  products: Float16Array.from({ length: count }, (_, i) => halves[i]! * halves[count - 4 - i + 2 * (i % 4)]!),
  moved: halves.slice(),
  widened: Float32Array.from({ length: 2 * count }, (_, i) => halves[i % count]!),
});
