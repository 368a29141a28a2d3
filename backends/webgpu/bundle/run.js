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
 * not given; `read(name)` answers with a file as bytes or as a stream of them, by default through fetch.
 */
export async function loadBundle(base, { device, read } = {}) {
  const open = read ?? ((name) => fetched(new URL(name, base)));
  const text = async (name) => await new Response(await open(name)).text();
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
  await fillParameters(gpu, buffers, manifest, chunksOf(await open("weights.safetensors")));
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
      for (const b of buffers.splice(0)) b.destroy();
    },
  };
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response.body;
}

/** Bytes, or those of a stream as they come; not all browsers iterate over one. */
async function* chunksOf(file) {
  if (file instanceof Uint8Array) return yield file;
  const reader = file.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
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

/** Bytes of weights that are in memory at once, and those that may be on their way to the device. */
const pieceBytes = 2 ** 22;
const underWayBytes = 2 ** 27;

/** A safetensors file as it comes: the header's length (u64), the header (JSON), the data. */
async function fillParameters(gpu, buffers, { parameters }, chunks) {
  const fill = filling(chunks);
  const length = Number(new DataView((await fill(new Uint8Array(8))).buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(await fill(new Uint8Array(length))));
  const places = parameters.map(({ name, dtype, axes, buffer }) => {
    const entry = header[name];
    const shape = axes.map((a) => a.size);
    const stored = dtype.toUpperCase();
    if (entry?.dtype !== stored || entry.shape.join() !== shape.join()) {
      throw new Error(`weights.safetensors does not hold "${name}" as ${stored} [${shape}]`);
    }
    const [from, to] = entry.data_offsets;
    return { buffer: buffers[buffer], from, to };
  });
  let [at, underWay] = [0, 0];
  for (const { buffer, from, to } of places.sort((a, b) => a.from - b.from)) {
    for (; at < from; at += pieceBytes) await fill(new Uint8Array(Math.min(pieceBytes, from - at)));
    for (at = from; at < to; at += pieceBytes) {
      const bytes = Math.min(pieceBytes, to - at);
      const words = new Uint8Array(wholeWords(bytes));
      await fill(words.subarray(0, bytes));
      gpu.queue.writeBuffer(buffer, at - from, words);
      if ((underWay += bytes) < underWayBytes) continue;
      underWay = 0;
      await gpu.queue.onSubmittedWorkDone();
    }
    at = to;
  }
}

/** Fills arrays one after another with the bytes of chunks. */
function filling(chunks) {
  let chunk = new Uint8Array(0);
  return async (into) => {
    for (let done = 0; done < into.length; ) {
      if (chunk.length === 0) {
        const { value, done: isOver } = await chunks.next();
        if (isOver) throw new Error("weights.safetensors ends before its last tensor");
        chunk = value;
      }
      const part = chunk.subarray(0, into.length - done);
      into.set(part, done);
      done += part.length;
      chunk = chunk.subarray(part.length);
    }
    return into;
  };
}

async function run(gpu, manifest, buffers, pipelines, groups, inputs) {
  if (buffers.length === 0) throw new Error("the bundle was disposed of: load it again");
  const names = manifest.inputs.map(({ name }) => name);
  const unknown = Object.keys(inputs ?? {}).filter((name) => !names.includes(name));
  if (unknown.length > 0)
    throw new Error(`the bundle has no input "${unknown.join('", "')}"; it has ${names.join(", ")}`);
  for (const { name, dtype, axes, buffer } of manifest.inputs) {
    const count = elements(axes);
    if (inputs?.[name]?.length !== count) {
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
