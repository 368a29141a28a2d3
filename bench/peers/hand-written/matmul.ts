/**
 * A matrix product hand-written for this one shape and adapter: the rate that generated kernels are measured against.
 * On software adapters the lanes of a subgroup broadcast row elements to each other; on hardware a workgroup stages
 * tiles of both operands in workgroup memory, and each thread accumulates 8 by 8 results.
 */
import { openDevice } from "../../device.ts";
import { normals } from "../../model/values.ts";
import type { GpuDevice, Subject } from "../../subject.ts";

interface Product {
  readonly wgsl: string;
  readonly grid: readonly [number, number];
}

/** [size, size] times [size, size], size a multiple of 128. */
export async function matmul(size: number): Promise<Subject> {
  const gpu = await openDevice();
  const { device } = gpu;
  const bytes = 4 * size * size;
  const [a, b] = [normals("a", size * size), normals("b", size * size)] as [
    Float32Array<ArrayBuffer>,
    Float32Array<ArrayBuffer>,
  ];
  return {
    gpu,
    build: async () => {
      const { wgsl, grid } = productFor(gpu, size);
      const module = device.createShaderModule({ code: wgsl });
      const pipeline = await gpu.settle(device.createComputePipelineAsync({ layout: "auto", compute: { module } }));
      const storage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC;
      const [left, right, result] = [0, 1, 2].map(() => device.createBuffer({ size: bytes, usage: storage }));
      const entries = [left, right, result].map((buffer, binding) => ({ binding, resource: { buffer: buffer! } }));
      const group = device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
      return async () => {
        device.queue.writeBuffer(left!, 0, a);
        device.queue.writeBuffer(right!, 0, b);
        const read = device.createBuffer({ size: bytes, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
        const encoder = device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...grid);
        pass.end();
        encoder.copyBufferToBuffer(result!, 0, read, 0, bytes);
        device.queue.submit([encoder.finish()]);
        await gpu.settle(read.mapAsync(GPUMapMode.READ));
        const y = new Float32Array(read.getMappedRange().slice(0));
        read.destroy();
        return y;
      };
    },
  };
}

function productFor({ adapter }: GpuDevice, size: number): Product {
  const { min: lanes, max } = adapter.subgroupSize;
  if (adapter.software && lanes > 1 && lanes === max) return broadcastTile(size, lanes, lanes > 4 ? 2 : 4);
  return stagedTile(size);
}

const range = (length: number): number[] => Array.from({ length }, (_, i) => i);

const operands = (elements: number) => `
@group(0) @binding(0) var<storage, read> a: array<vec4f, ${elements / 4}>;
@group(0) @binding(1) var<storage, read> b: array<vec4f, ${elements / 4}>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f, ${elements / 4}>;`;

/** Lane l loads four elements of row l in each group of rows, and owns four columns. */
function broadcastTile(size: number, lanes: number, groups: number): Product {
  const [rows, pitch] = [lanes * groups, size / 4];
  const step = (u: number) =>
    range(rows)
      .map(
        (r) => `c${r} = fma(vec4f(subgroupBroadcast(a${Math.floor(r / lanes)}[${u}], ${r % lanes}u)), b${u}, c${r});`,
      )
      .join("\n    ");
  const wgsl = `enable subgroups;
${operands(size * size)}
@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let row = group.y * ${rows}u;
  let column = group.x * ${lanes}u + lane;
  ${range(rows)
    .map((r) => `var c${r} = vec4f();`)
    .join("\n  ")}
  for (var k = 0u; k < ${pitch}u; k++) {
    ${range(groups)
      .map((g) => `let a${g} = a[(row + ${g * lanes}u + lane) * ${pitch}u + k];`)
      .join("\n    ")}
    ${range(4)
      .map((u) => `let b${u} = b[(k * 4u + ${u}u) * ${pitch}u + column];\n    ${step(u)}`)
      .join("\n    ")}
  }
  ${range(rows)
    .map((r) => `y[(row + ${r}u) * ${pitch}u + column] = c${r};`)
    .join("\n  ")}
}`;
  return { wgsl, grid: [size / (4 * lanes), size / rows] };
}

/**
 * A workgroup of 256 threads computes a 128 by 128 tile, 16 steps of k at a time; the left tile is stored transposed.
 */
function stagedTile(size: number): Product {
  const [tile, depth, pitch] = [128, 16, size / 4];
  const sums = range(8).flatMap((r) => [`var c${r}0 = vec4f();`, `var c${r}1 = vec4f();`]);
  const products = range(8)
    .map((r) => {
      const factor = `vec4f(${r < 4 ? "m0" : "m1"}[${r % 4}])`;
      return `c${r}0 = fma(${factor}, n0, c${r}0); c${r}1 = fma(${factor}, n1, c${r}1);`;
    })
    .join("\n      ");
  const wgsl = `${operands(size * size)}
var<workgroup> left: array<array<vec4f, ${tile / 4}>, ${depth}>;
var<workgroup> right: array<array<vec4f, ${tile / 4}>, ${depth}>;
@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) id: u32) {
  let row = group.y * ${tile}u;
  let column = group.x * ${tile / 4}u;
  let down = id / 16u;
  let across = id % 16u;
  ${sums.join(" ")}
  for (var k = 0u; k < ${size}u; k += ${depth}u) {
    for (var i = id; i < ${(tile * depth) / 4}u; i += 256u) {
      let v = a[(row + i / ${depth / 4}u) * ${pitch}u + k / 4u + i % ${depth / 4}u];
      let line = (i % ${depth / 4}u) * 4u;
      let at = i / ${depth / 4}u;
      ${range(4)
        .map((u) => `left[line + ${u}u][at / 4u][at % 4u] = v[${u}];`)
        .join("\n      ")}
      right[i / ${tile / 4}u][i % ${tile / 4}u] = b[(k + i / ${tile / 4}u) * ${pitch}u + column + i % ${tile / 4}u];
    }
    workgroupBarrier();
    for (var d = 0u; d < ${depth}u; d++) {
      let m0 = left[d][down * 2u];
      let m1 = left[d][down * 2u + 1u];
      let n0 = right[d][across];
      let n1 = right[d][across + 16u];
      ${products}
    }
    workgroupBarrier();
  }
  ${range(8)
    .map((r) => {
      const line = `(row + down * 8u + ${r}u) * ${pitch}u + column + across`;
      return `y[${line}] = c${r}0; y[${line} + 16u] = c${r}1;`;
    })
    .join("\n  ")}
}`;
  return { wgsl, grid: [size / tile, size / tile] };
}
