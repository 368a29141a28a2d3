// Runs a heddle WebGPU bundle in a page (or wherever there is a GPUDevice). It needs only the files next to it:
// manifest.json, weights.safetensors and the .wgsl files.
//
//   import { loadBundle } from "./run.js";
//   const model = await loadBundle(new URL(".", import.meta.url));
//   const { image } = await model.run({ pixels: new Float32Array(3 * 48 * 48) });
//
// An input is a plain or typed array of numbers. An f16 input may also be a Uint16Array of raw bits; an f16 output is a
// Float16Array, or a Float32Array of the same values in browsers without Float16Array.

const usage = { mapRead: 0x1, copySrc: 0x4, copyDst: 0x8, storage: 0x80 };
const arrays = { f32: Float32Array, i32: Int32Array, u32: Uint32Array, bool: Uint32Array };
const elements = (axes) => axes.reduce((n, a) => n * a.size, 1);
// Copies are in whole words: after an odd number of halves, the rest is buffer padding.
const wholeWords = (bytes) => Math.ceil(bytes / 4) * 4;
const bytesOf = ({ dtype, axes }) => wholeWords(elements(axes) * (dtype === "f16" ? 2 : 4));

/**
 * Loads a bundle. `base` is the URL of its folder; `device` is a GPUDevice, by default requested with what the bundle
 * needs; `read(name)` returns a file as bytes or a byte stream, by default through fetch.
 */
export async function loadBundle(base, { device, read } = {}) {
  const open = read ?? ((name) => fetched(new URL(name, base)));
  const text = async (name) => await new Response(await open(name)).text();
  const manifest = JSON.parse(await text("manifest.json"));
  if (manifest.format !== "heddle-webgpu-2")
    throw new Error(`"${manifest.format}" is not a bundle format that this file supports`);
  if (device) check(manifest, "device", device, device.adapterInfo);
  const gpu = device ?? (await requestDevice(manifest));
  const buffers = manifest.buffers.map((size) =>
    gpu.createBuffer({ size, usage: usage.storage | usage.copySrc | usage.copyDst }),
  );
  const dispose = () => {
    for (const b of buffers.splice(0)) b.destroy();
  };
  for (const { buffer, dtype, values } of manifest.constants) write(gpu, buffers[buffer], dtype, values);
  // Load weights while the driver compiles.
  const [pipelines] = await Promise.all([
    compile(gpu, manifest, text),
    open("weights.safetensors").then((file) => fillParameters(gpu, buffers, manifest, chunksOf(file))),
  ]).catch((cause) => {
    dispose();
    throw cause;
  });
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
    dispose,
  };
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return response.body;
}

/** Yields bytes or a stream's chunks; not all browsers support iterating over a stream. */
async function* chunksOf(file) {
  if (file instanceof Uint8Array) return yield file;
  const reader = file.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    await reader.cancel();
  }
}

async function requestDevice(manifest) {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) throw new Error("this browser offers no WebGPU adapter");
  check(manifest, "adapter", adapter, adapter.info);
  const { features, limits } = manifest.requires;
  return await adapter.requestDevice({ requiredLimits: limits, requiredFeatures: features });
}

/** Throws one error listing everything that the kernels need and the adapter or device lacks. */
function check({ requires }, what, has, info = {}) {
  const missing = [
    ...requires.features.filter((name) => !has.features.has(name)).map((name) => `${name}, which it lacks`),
    ...Object.entries(requires.limits)
      .filter(([name, value]) => !(has.limits[name] >= value))
      .map(([name, value]) => `${name} ${value}, it has ${has.limits[name]}`),
    ...unlikeSubgroups(requires.subgroups, info),
    ...unlikeMatrices(requires.matrices, info),
  ];
  if (missing.length === 0) return;
  const name = info.description || `${info.vendor ?? ""} ${info.architecture ?? ""}`.trim() || "unnamed";
  const hints =
    what === "device"
      ? ["request the device with the features and limits in manifest.json, or pass none to have it requested"]
      : [];
  if (requires.features.includes("shader-f16"))
    hints.push(
      "a bundle compiled in f32 (without --precision f16) needs no shader-f16; its weights and inputs can still be stored as f16 (--dtype f16)",
    );
  hints.push("heddle compile without --adapter makes one that runs on nearly every GPU, with --adapter one for yours");
  const lines = [...missing, ...hints.map((hint) => `hint: ${hint}`)];
  throw new Error(`the ${what} (${name}) does not meet the requirements of the model:\n  ${lines.join("\n  ")}`);
}

/** Kernels with subgroup operations compute wrong results at another subgroup size. */
function unlikeSubgroups(wanted, { subgroupMinSize: min, subgroupMaxSize: max }) {
  if (!wanted) return [];
  const range = (from, to) => (from === to ? `${from}` : `${from} to ${to}`);
  const fits = wanted.chosen ? min <= wanted.min && wanted.max <= max : min === wanted.min && max === wanted.max;
  if (fits) return [];
  const has = max > 0 ? `it has ${range(min, max)}` : "its sizes are unknown";
  return [`subgroups of ${range(wanted.min, wanted.max)} lanes${wanted.chosen ? "" : " and no others"}, ${has}`];
}

function unlikeMatrices(wanted, { subgroupMatrixConfigs = [] }) {
  const text = (m, n, k, from, to) => `${m}x${n}x${k} of ${from} summed in ${to}`;
  const has = Array.from(subgroupMatrixConfigs, (c) => text(c.M, c.N, c.K, c.componentType, c.resultComponentType));
  return wanted
    .map(({ m, n, k, operands, result }) => text(m, n, k, operands, result))
    .filter((shape) => !has.includes(shape))
    .map((shape) => `subgroup matrices ${shape}, it has ${has.join(", ") || "none"}`);
}

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

/** An array whose bytes are f16 values. */
function halves(values) {
  if (values instanceof Uint16Array || (hasHalves && values instanceof Float16Array)) return values;
  return hasHalves ? Float16Array.from(values) : Uint16Array.from(values, halfBits);
}

/** Rounds to the nearest half, ties to even: sign, 5 exponent bits, 10 mantissa bits. */
function halfBits(x) {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const size = Math.abs(x);
  if (!(size < 65520)) return sign + (Number.isNaN(x) ? 0x7e00 : 0x7c00);
  const exponent = Math.max(-14, Math.floor(Math.log2(size)));
  const steps = size / 2 ** (exponent - 10);
  const down = Math.floor(steps);
  const up = steps - down > 0.5 || (steps - down === 0.5 && down % 2 === 1);
  return sign + (exponent + 14) * 1024 + down + Number(up); // mantissa overflow carries into the exponent
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

/** Decodes an output's elements from its buffer. */
function decoded({ dtype, axes }, bytes) {
  const count = elements(axes);
  if (dtype !== "f16") return new arrays[dtype](bytes, 0, count);
  return hasHalves ? new Float16Array(bytes, 0, count) : Float32Array.from(new Uint16Array(bytes, 0, count), halfValue);
}

/** Bytes of weights read at a time, and the maximum in flight to the device. */
const pieceBytes = 2 ** 22;
const underWayBytes = 2 ** 27;

/** Streams a safetensors file into buffers; stops if they are disposed of. */
async function fillParameters(gpu, buffers, manifest, chunks) {
  try {
    await fillAll(gpu, buffers, manifest, filling(chunks));
  } finally {
    await chunks.return();
  }
}

/** Layout: header length (u64), header (JSON), data. */
async function fillAll(gpu, buffers, { parameters }, fill) {
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
    return { buffer, from, to };
  });
  let [at, underWay] = [0, 0];
  for (const { buffer, from, to } of places.sort((a, b) => a.from - b.from)) {
    for (; at < from; at += pieceBytes) await fill(new Uint8Array(Math.min(pieceBytes, from - at)));
    for (at = from; at < to; at += pieceBytes) {
      const bytes = Math.min(pieceBytes, to - at);
      const words = new Uint8Array(wholeWords(bytes));
      await fill(words.subarray(0, bytes));
      if (buffers.length === 0) return;
      gpu.queue.writeBuffer(buffers[buffer], at - from, words);
      if ((underWay += bytes) < underWayBytes) continue;
      underWay = 0;
      await gpu.queue.onSubmittedWorkDone();
    }
    at = to;
  }
}

/** Returns a function that fills arrays from successive chunks. */
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
  if (buffers.length === 0) throw new Error("the bundle has been disposed: load it again");
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

/** A lost device rejects pending operations without a reason; `gpu.lost` gives it then or soon after. */
async function explained(gpu, cause) {
  const loss = await Promise.race([gpu.lost, new Promise((resolve) => setTimeout(resolve, 500))]);
  const why = loss ? loss.message || loss.reason : cause.message || cause.name;
  throw new Error(`the device was lost while results were read back: ${why}`, { cause });
}
