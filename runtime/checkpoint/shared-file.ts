/**
 * A safetensors file that several processes write, each its own ranges of the tensors. The bytes equal those that a
 * single process would write.
 */
import { crc32 } from "#host";
import { InternalError } from "../../compiler/index.ts";
import { explainingFaults } from "../file-errors.ts";
import type { FileSystem, OpenFile } from "../file-system.ts";
import type { TensorLayout } from "../safetensors/header.ts";
import { type Fingerprint, placeSafetensors } from "../safetensors/writer.ts";
import { combined, nothingSummed, type Summed } from "./crc32-combine.ts";

/** A run of a tensor's elements, beginning at element `from`; produced only when it is about to be written. */
export interface TensorPiece {
  readonly name: string;
  readonly from: number;
  readonly data: Float32Array;
}

export interface SharedFile {
  readonly tensors: readonly TensorLayout[];
  /** The pieces of this process, in the order of the tensors. */
  readonly pieces: () => AsyncIterable<TensorPiece>;
}

/** Contiguous bytes beginning at offset `at`. */
export interface WrittenRun extends Summed {
  readonly at: number;
}

/** Creates the file with its header, at its full size. */
export async function createShared(fs: FileSystem, path: string, { tensors }: SharedFile): Promise<WrittenRun> {
  const { header, bytes } = placeSafetensors(path, tensors);
  await explainingFaults("write", path, () =>
    closing(fs.open(path, "wx"), async (file) => {
      await writeAt(file, header, 0);
      await file.truncate(bytes);
    }),
  );
  return { at: 0, crc32: crc32(header), bytes: header.length };
}

/** Writes and syncs this process's pieces, and returns the byte runs written. */
export async function writePieces(
  fs: FileSystem,
  path: string,
  { tensors, pieces }: SharedFile,
): Promise<WrittenRun[]> {
  const { offsets } = placeSafetensors(path, tensors);
  const runs: { at: number; crc32: number; bytes: number }[] = [];
  await explainingFaults("write", path, () =>
    closing(fs.open(path, "r+"), async (file) => {
      for await (const { name, from, data } of pieces()) {
        if (data.length === 0) continue;
        const at = offsets.get(name)! + from * data.BYTES_PER_ELEMENT;
        const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
        await writeAt(file, bytes, at);
        const last = runs.at(-1);
        if (last && last.at + last.bytes === at) {
          last.crc32 = crc32(bytes, last.crc32);
          last.bytes += bytes.length;
        } else runs.push({ at, crc32: crc32(bytes), bytes: bytes.length });
      }
      await file.sync();
    }),
  );
  return runs;
}

/** The file's fingerprint from the runs of all processes. Throws InternalError when they leave a gap or overlap. */
export function fingerprintOf(path: string, runs: readonly WrittenRun[]): Fingerprint {
  let all = nothingSummed;
  for (const run of [...runs].sort((a, b) => a.at - b.at)) {
    if (run.at !== all.bytes) throw new InternalError(`${path}: byte ${all.bytes} is written by no process, or by two`);
    all = combined(all, run);
  }
  return { ...all };
}

async function closing<T>(opening: Promise<OpenFile>, work: (file: OpenFile) => Promise<T>): Promise<T> {
  const file = await opening;
  try {
    return await work(file);
  } finally {
    await file.close();
  }
}

const largestWrite = 64 * 1024 * 1024;

async function writeAt(file: OpenFile, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(bytes.length - done, largestWrite), at + done);
    done += bytesWritten;
  }
}
