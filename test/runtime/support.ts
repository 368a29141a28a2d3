/** What the tests of the runtime share: temporary folders, handmade safetensors files and file systems that fail. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { FileSystem, OpenFile } from "../../runtime/file-system.ts";
import { fileSystem } from "../../runtime/host/node-host.ts";

/** A fresh folder that is removed when the test is over. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "heddle-test-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** The bytes of a safetensors file with this header, right or wrong, and this much data (0, 1, 2 ...). */
export function safetensorsBytes(header: string | Uint8Array | object, dataBytes: number, length?: bigint): Uint8Array {
  const isRaw = typeof header === "string" || header instanceof Uint8Array;
  const json = Buffer.from(isRaw ? (header as string) : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(json.length));
  return Buffer.concat([prefix, json, Uint8Array.from({ length: dataBytes }, (_, i) => i & 0xff)]);
}

export async function writeSafetensorsBytes(...parts: Parameters<typeof safetensorsBytes>): Promise<string> {
  const path = join(await temporaryFolder(), "model.safetensors");
  await writeFile(path, safetensorsBytes(...parts));
  return path;
}

export const systemFault = (code: string) => Object.assign(new Error(`${code}: simulated`), { code });

/** A disk that takes `capacity` bytes and is then full. A write that does not fit is first taken in part. */
export function smallDisk(capacity: number): FileSystem {
  let free = capacity;
  return withFiles((file) => ({
    write: async (buffer, offset, length, position) => {
      const fitting = Math.min(length, free);
      if (fitting === 0 && length > 0) throw systemFault("ENOSPC");
      free -= fitting;
      return await file.write(buffer, offset, fitting, position);
    },
  }));
}

/** The machine's file system without waiting for its disk: what a test prepares need not survive a power cut. */
export const withoutSync: FileSystem = { ...withFiles(() => ({ sync: async () => {} })), syncFolder: async () => {} };

/** The process dies at its operation number `deadline`: that one and all later ones, cleaning up included, fail. */
export function dyingProcess(deadline: number): FileSystem & { readonly operations: () => number } {
  let operations = 0;
  const tick = () => {
    if (operations++ >= deadline) throw new Error("killed");
  };
  const ticking = <F extends (...args: never[]) => Promise<unknown>>(work: F) =>
    (async (...args: never[]) => {
      tick();
      return await work(...args);
    }) as F;
  const files = withFiles((file) => ({
    // A kill in mid-write leaves a part of the bytes.
    write: async (buffer, offset, length, position) => {
      if (operations === deadline) await file.write(buffer, offset, Math.floor(length / 2), position);
      tick();
      return await file.write(buffer, offset, length, position);
    },
    sync: ticking(async () => {}),
  }));
  return {
    ...files,
    open: ticking(files.open),
    mkdir: ticking(files.mkdir),
    rename: ticking(files.rename),
    remove: ticking(files.remove),
    syncFolder: ticking(async () => {}),
    operations: () => operations,
  };
}

/** The machine's file system with some methods of open files replaced. */
function withFiles(change: (file: OpenFile) => Partial<OpenFile>): FileSystem {
  return {
    ...fileSystem,
    open: async (path, flags, mode) => {
      const file = await fileSystem.open(path, flags, mode);
      const plain: OpenFile = {
        read: (...args) => file.read(...args),
        write: (...args) => file.write(...args),
        stat: () => file.stat(),
        truncate: (length) => file.truncate(length),
        sync: () => file.sync(),
        close: () => file.close(),
      };
      return { ...plain, ...change(plain) };
    },
  };
}
