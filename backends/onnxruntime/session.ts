/** The only module that uses onnxruntime-node: loads it, opens sessions, wraps arrays as its tensors. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import { allocate, type DType, type HostData, UnsupportedError } from "../../compiler/index.ts";
import { withExactProducts } from "./exact-products.ts";

export type OrtTensor = Tensor;
export type OrtSession = InferenceSession;

export interface SessionSettings {
  /** Intra-op threads; onnxruntime's default is one per physical core. */
  readonly threads?: number;
  /**
   * Computes products with 4- and 8-bit weights in f32, whatever the model's own operators say; by default onnxruntime
   * quantizes the other operand to 8 bits.
   */
  readonly exactProducts?: boolean;
  /** A file name prefix: each session writes its profile to a JSON file of that name. */
  readonly profile?: string;
}

/** Installs the package without its script, which downloads CUDA libraries that are not used here, or fails. */
const installLine = "npm install --ignore-scripts onnxruntime-node";

type Library = typeof import("onnxruntime-node");
let library: Library | undefined;

/** The library, loaded at first use. Throws UnsupportedError where the optional package is not installed. */
export function onnxruntime(): Library {
  if (library) return library;
  const require = createRequire(import.meta.url);
  try {
    library = require("onnxruntime-node") as Library;
  } catch (cause) {
    throw new UnsupportedError(
      `the cpu device needs the package onnxruntime-node, which cannot be loaded here (${process.platform} ${process.arch}): ${installLine}; ${(cause as Error).message.split("\n")[0]}`,
      { cause },
    );
  }
  return library;
}

/** Why there is no cpu device here; undefined where there is one. */
export function cpuMissing(): string | undefined {
  try {
    onnxruntime();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** A session for a model in memory or at a path. */
export async function openSession(model: Uint8Array | string, settings: SessionSettings = {}): Promise<OrtSession> {
  const { InferenceSession } = onnxruntime();
  const options: InferenceSession.SessionOptions = {
    executionProviders: ["cpu"],
    graphOptimizationLevel: "all",
    executionMode: "sequential",
    logSeverityLevel: 3,
    ...(settings.threads !== undefined && { intraOpNumThreads: settings.threads }),
    ...(settings.exactProducts && { extra: { session: exactly } }),
    ...(settings.profile !== undefined && { enableProfiling: true, profileFilePrefix: settings.profile }),
  };
  const changed =
    settings.exactProducts && withExactProducts(typeof model === "string" ? await readFile(model) : model);
  if (changed && typeof model === "string") {
    const extra = { session: { ...exactly, model_external_initializers_file_folder_path: dirname(model) } };
    return await InferenceSession.create(changed, { ...options, extra });
  }
  const opened = changed || model;
  return await (typeof opened === "string"
    ? InferenceSession.create(opened, options)
    : InferenceSession.create(opened, options));
}

/** Session options for products that onnxruntime makes of standard operators. */
const exactly = { qdq_matmulnbits_accuracy_level: "1" };

const ortTypes = { f32: "float32", f16: "float16", i32: "int32", u32: "uint32", bool: "bool" } as const;

/** The array as an onnxruntime tensor, over the same memory. */
export function wrap(dtype: DType, data: HostData, dims: readonly number[]): OrtTensor {
  const { Tensor } = onnxruntime();
  if (dtype !== "f16") return new Tensor(ortTypes[dtype] as "float32", data as Float32Array, dims);
  // The JavaScript side of onnxruntime-node 1.30 turns f16 into a Float16Array where there is one, while its native
  // side accepts a Uint16Array only: so the tensor is made of the bits, and its type is set afterwards.
  const bits = new Uint16Array(data.buffer as ArrayBuffer, data.byteOffset, data.length);
  return Object.assign(new Tensor("uint16", bits, dims), { type: ortTypes.f16 }) as OrtTensor;
}

/** Integers as an int64 tensor. */
export const wrapLong = (data: ArrayLike<number>, dims: readonly number[]): OrtTensor =>
  new (onnxruntime().Tensor)("int64", BigInt64Array.from(Array.from(data), BigInt), dims);

/** The elements of a tensor after a run, over the same memory. */
export function unwrap(dtype: DType, tensor: OrtTensor): HostData {
  const data = tensor.data as HostData;
  if (dtype !== "f16" || data instanceof Float16Array) return data;
  return new Float16Array(data.buffer as ArrayBuffer, data.byteOffset, data.length);
}

/**
 * Ends a run's own view of an output that was written into `place`. onnxruntime makes one for each such output of each
 * run, and V8 takes it for newly allocated memory: left to the collector, the state of a training step has all of the
 * heap marked every other step, on the cores that compute.
 */
export function dropView({ data }: OrtTensor, place: HostData): void {
  const { buffer } = data as HostData;
  if (buffer !== place.buffer) (buffer as ArrayBuffer).transfer(0);
}

/** The elements in an array of the dtype's own kind: float64 values of the interpreter are rounded. */
export function asStored(dtype: DType, data: HostData): HostData {
  const own = allocate(dtype, 0);
  if (data.constructor === own.constructor) return data;
  const copy = allocate(dtype, data.length);
  copy.set(data);
  return copy;
}
