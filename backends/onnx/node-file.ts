/** Writes an export to files: the model, and a second file for large weights. */
import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FileError, HeddleError } from "../../compiler/index.ts";
import { encodeOnnx, weightBytes, withStored } from "./encode.ts";
import type { OnnxExport } from "./pipeline.ts";
import { wireCodes } from "./wire/elements.ts";
import { encodeModel, externalLocation, type TensorProto } from "./wire/proto.ts";
import { findWeights, storedParts, type WeightSource } from "./wire/weights.ts";

export interface WriteOptions {
  /** True: weights in a second file, PATH.data. Default: if there are more than 64 MiB of weights. */
  readonly external?: boolean;
}

export interface WrittenModel {
  /** The model, and the weights file if there is one. */
  readonly files: readonly string[];
  readonly bytes: number;
}

/**
 * Weights above this size go to their own file, which onnxruntime memory-maps; embedded weights it parses and copies.
 * Opening 170 MB of 4-bit integers took 332 ms of CPU time from one file and 160 from two.
 */
const embeddedLimit = 2 ** 26;

/** Page size: tensors are page-aligned so that runtimes can memory-map the file. */
const alignment = 4096;

/**
 * Writes the model at `path`; weights are streamed. Files are written under temporary names, synced and then renamed,
 * weights first, so that a model is never paired with another model's weights. On an I/O error, throws FileError and
 * removes the temporary files.
 */
export async function writeOnnx(
  path: string,
  model: OnnxExport,
  weights: WeightSource = () => undefined,
  options: WriteOptions = {},
): Promise<WrittenModel> {
  const external = options.external ?? weightBytes(model) > embeddedLimit;
  const mark = `.${randomBytes(6).toString("hex")}.tmp`;
  const [temporary, data] = [hidden(path, mark), `${path}.data`];
  const temporaryData = hidden(data, mark);
  try {
    const tensors = external ? await writeData(temporaryData, basename(data), model, weights) : undefined;
    const bytes = tensors ? encodeModel(withStored(model, tensors.list)) : await encodeOnnx(model, weights);
    await writeWhole(temporary, [bytes]);
    // Remove the old model first: between the renames it would be read with the new weights.
    if (tensors) {
      await rm(path, { force: true });
      await rename(temporaryData, data);
    }
    await rename(temporary, path);
    await syncFolder(dirname(path));
    return { files: tensors ? [path, data] : [path], bytes: bytes.length + (tensors?.size ?? 0) };
  } catch (cause) {
    await Promise.all([temporary, temporaryData].map((f) => rm(f, { force: true }).catch(() => {})));
    if (cause instanceof HeddleError || !isSystemError(cause)) throw cause;
    throw new FileError(`cannot write ${path}: ${cause.message}`, { cause });
  }
}

const hidden = (path: string, mark: string): string => join(dirname(path), `.${basename(path)}${mark}`);
const isSystemError = (e: unknown): e is NodeJS.ErrnoException => e instanceof Error && "code" in e && "syscall" in e;

/** Streams every weight to the data file, aligned. */
async function writeData(path: string, location: string, model: OnnxExport, weights: WeightSource) {
  const found = await findWeights(model.stored, weights);
  const list: TensorProto[] = [];
  let at = 0;
  await writing(path, async (file) => {
    const write = async (bytes: Uint8Array) => {
      await writeAll(file, bytes);
      at += bytes.length;
    };
    for (const [tensor, weight] of found) {
      for await (const [{ name, dims, type }, pieces] of storedParts(tensor, weight)) {
        await write(new Uint8Array((alignment - (at % alignment)) % alignment));
        const offset = at;
        for await (const piece of pieces) await write(piece);
        const place = { location, offset: String(offset), length: String(at - offset) };
        const externalData = Object.entries(place).map(([key, value]) => ({ key, value }));
        list.push({ name, dims: [...dims], dataType: wireCodes[type], dataLocation: externalLocation, externalData });
      }
    }
  });
  return { list, size: at };
}

const writeWhole = (path: string, parts: readonly Uint8Array[]): Promise<void> =>
  writing(path, async (file) => {
    for (const part of parts) await writeAll(file, part);
  });

async function writing(path: string, body: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, "wx");
  try {
    await body(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Loops, as a write may be partial. */
async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(bytes.length - done, 2 ** 30));
    done += bytesWritten;
  }
}

/** Makes the renames durable; Windows neither needs nor allows it. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
