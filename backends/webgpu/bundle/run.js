// Runs a heddle WebGPU bundle in a page (or wherever there is a GPUDevice). It needs nothing but the files beside it:
// manifest.json, weights.safetensors and the .wgsl files.
//
//   import { loadBundle } from "./run.js";
//   const model = await loadBundle(new URL(".", import.meta.url));
//   const { image } = await model.run({ pixels: new Float32Array(3 * 48 * 48) });
//
// An input is an array of numbers, plain or typed. One of f16 may also be a Uint16Array, which holds the bits of halves;
// an output of f16 is a Float16Array, or a Float32Array of the same values in browsers that have no Float16Array.

const usage = { mapRead: 0x1, copySrc: 0x4, copyDst: 0x8, storage: 0x80 };
const arrays = { f32: Float32Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };
const elements = (axes) => axes.reduce((n, a) => n * a.size, 1);
// Copies are of whole words: what follows an odd number of halves lies in the buffer's padding.
const wholeWords = (bytes) => Math.ceil(bytes / 4) * 4;
const bytesOf = ({ dtype, axes }) => wholeWords(elements(axes) * (dtype === "f16" ? 2 : 4));

/**
 * Loads a bundle. `base` is the URL of its folder; `device` a GPUDevice, requested with what the bundle needs when it is
 * not given; `read(name)` answers with the bytes of a file, by default through fetch.
 */
export async function loadBundle(base, { device, read } = {}) {
  const bytes = read ?? ((name) => fetchBytes(new URL(name, base)));
  const text = async (name) => new TextDecoder().decode(await bytes(name));
  const manifest = JSON.parse(await text("manifest.json"));
  if (manifest.format !== "heddle-webgpu-1")
    throw new Error(`"${manifest.format}" is not a bundle that this file runs`);
  const gpu = device ?? (await requestDevice(manifest));
  for (const name of manifest.features)
    if (!gpu.features.has(name))
      throw new Error(`the device was requested without ${name}, which the kernels need${instead(name)}`);
  const pipelines = await compile(gpu, manifest, text);
  const buffers = manifest.buffers.map((size) =>
    gpu.createBuffer({ size, usage: usage.storage | usage.copySrc | usage.copyDst }),
  );
  for (const { buffer, dtype, values } of manifest.constants) write(gpu, buffers[buffer], dtype, values);
  fillParameters(gpu, buffers, manifest, await bytes("weights.safetensors"));
  const groups = manifest.dispatches.map((d) =>
    gpu.createBindGroup({
      layout: pipelines[d.shader].getBindGroupLayout(0),
      entries: d.bindings.map(({ buffer, offset, size }, binding) => ({
        binding,
        resource: { buffer: buffers[buffer], offset, size },
      })),
    }),
  );
  return {
    manifest,
    device: gpu,
    run: (inputs) => run(gpu, manifest, buffers, pipelines, groups, inputs),
    dispose: () => {
      for (const b of buffers) b.destroy();
    },
  };
}

async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

const workgroupLimits = [
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
];

async function requestDevice({ largestBinding, mostBindings, buffers, features }) {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("this browser offers no WebGPU adapter");
  const wanted = {
    maxStorageBufferBindingSize: largestBinding,
    maxBufferSize: Math.max(...buffers),
    maxStorageBuffersPerShaderStage: mostBindings,
  };
  for (const [name, value] of Object.entries(wanted)) {
    if (adapter.limits[name] < value)
      throw new Error(`the adapter's ${name} is ${adapter.limits[name]}, the model needs ${value}`);
  }
  // Kernels that are made for an adapter may be larger than what every one grants.
  for (const name of workgroupLimits) wanted[name] = adapter.limits[name];
  for (const name of features)
    if (!adapter.features.has(name))
      throw new Error(`the adapter has no ${name}, which the model's kernels need${instead(name)}`);
  return await adapter.requestDevice({ requiredLimits: wanted, requiredFeatures: features });
}

/** What to do without a feature. */
const instead = (name) =>
  name === "shader-f16"
    ? "\n  hint: a bundle compiled without --precision f16 runs everywhere, with --dtype f16 from weights and inputs in f16"
    : "";

function compile(gpu, { shaders }, text) {
  return Promise.all(
    shaders.map(async (name) => {
      const module = gpu.createShaderModule({ label: name, code: await text(name) });
      return gpu.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
    }),
  );
}

function write(gpu, buffer, dtype, values) {
  const data = dtype === "f16" ? halves(values) : values instanceof arrays[dtype] ? values : arrays[dtype].from(values);
  const words = new Uint8Array(wholeWords(data.byteLength));
  words.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  gpu.queue.writeBuffer(buffer, 0, words);
}

const hasHalves = typeof Float16Array === "function";

/** An array whose bytes are those of halves. */
function halves(values) {
  if (values instanceof Uint16Array || (hasHalves && values instanceof Float16Array)) return values;
  return hasHalves ? Float16Array.from(values) : Uint16Array.from(values, halfBits);
}

/** The half nearest to a number, ties to even: sign, 5 bits of exponent, 10 of mantissa. */
function halfBits(x) {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.abs(x);
  if (!(size < 65520)) return sign + (Number.isNaN(x) ? 0x7e00 : 0x7c00);
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const steps = size / 2 ** (exponent - 10);
  const down = Math.floor(steps);
  const up = steps - down > 0.5 || (steps - down === 0.5 && down % 2 === 1);
  return sign + (exponent + 14) * 1024 + down + Number(up); // beyond the mantissa it counts the exponent up
}

function halfValue(bits) {
  const [exponent, mantissa] = [(bits >> 10) & 31, bits & 1023];
  const size =
    exponent === 31
      ? mantissa > 0
        ? Number.NaN
        : Number.POSITIVE_INFINITY
      : (mantissa + (exponent > 0 ? 1024 : 0)) * 2 ** (Math.max(1, exponent) - 25);
  return bits & 0x8000 ? -size : size;
}

/** The elements of an output from the bytes of its buffer. */
function decoded({ dtype, axes }, bytes) {
  const count = elements(axes);
  if (dtype !== "f16") return new arrays[dtype](bytes, 0, count);
  return hasHalves ? new Float16Array(bytes, 0, count) : Float32Array.from(new Uint16Array(bytes, 0, count), halfValue);
}

/** A safetensors file: the header's length (u64), the header (JSON), the data. */
function fillParameters(gpu, buffers, { parameters }, file) {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const headerBytes = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + headerBytes)));
  for (const { name, dtype, axes, buffer } of parameters) {
    const entry = header[name];
    const shape = axes.map((a) => a.size);
    const stored = dtype.toUpperCase();
    if (entry?.dtype !== stored || entry.shape.join() !== shape.join()) {
      throw new Error(`weights.safetensors does not hold "${name}" as ${stored} [${shape}]`);
    }
    const [from, to] = entry.data_offsets.map((at) => 8 + headerBytes + at);
    const words = new Uint8Array(wholeWords(to - from));
    words.set(file.subarray(from, to));
    gpu.queue.writeBuffer(buffers[buffer], 0, words);
  }
}

async function run(gpu, manifest, buffers, pipelines, groups, inputs) {
  for (const { name, dtype, axes, buffer } of manifest.inputs) {
    const count = elements(axes);
    if (inputs[name]?.length !== count) {
      const shape = axes.map((a) => `${a.name}=${a.size}`).join(", ");
      throw new Error(`input "${name}" needs ${count} values, ${dtype} [${shape}]`);
    }
    write(gpu, buffers[buffer], dtype, inputs[name]);
  }
  const encoder = gpu.createCommandEncoder();
  const pass = encoder.beginComputePass();
  manifest.dispatches.forEach((d, i) => {
    pass.setPipeline(pipelines[d.shader]);
    pass.setBindGroup(0, groups[i]);
    pass.dispatchWorkgroups(...d.grid);
  });
  pass.end();
  const staged = manifest.outputs.map((output) => {
    const size = bytesOf(output);
    const staging = gpu.createBuffer({ size, usage: usage.mapRead | usage.copyDst });
    encoder.copyBufferToBuffer(buffers[output.buffer], 0, staging, 0, size);
    return { staging, output };
  });
  gpu.queue.submit([encoder.finish()]);
  const results = {};
  for (const { staging, output } of staged) {
    await staging.mapAsync(1).catch((cause) => explained(gpu, cause));
    results[output.name] = decoded(output, staging.getMappedRange().slice(0));
    staging.destroy();
  }
  return results;
}

/** A lost device gives up what is waited for without saying why; it says so of itself, then or soon after. */
async function explained(gpu, cause) {
  const loss = await Promise.race([gpu.lost, new Promise((resolve) => setTimeout(resolve, 500))]);
  const why = loss ? loss.message || loss.reason : cause.message || cause.name;
  throw new Error(`the device was lost while results were read back: ${why}`, { cause });
}
