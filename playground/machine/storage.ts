/** Checkpoints of the run, in the browser's own file system for this page: two files in turn, so that one is always whole. */
import type { HostTensor } from "../../dsl/index.ts";
import { type ReadSafetensors, readSafetensors, writeSafetensors } from "./safetensors.ts";

export interface Checkpoints {
  /** Undefined where checkpoints outlive the page; else why not. */
  readonly why?: string;
  /** The newest one that is whole and has this key. */
  readonly newest: (key: string) => Promise<ReadSafetensors | undefined>;
  /** The key belongs to what is trained: a checkpoint of another model is none. */
  readonly save: (
    key: string,
    step: number,
    tensors: ReadonlyMap<string, HostTensor>,
    more: Readonly<Record<string, string>>,
  ) => Promise<void>;
  readonly clear: () => Promise<void>;
}

const files = ["run-a.safetensors", "run-b.safetensors"] as const;

/** In the origin private file system; in memory where the browser has none. */
export async function openCheckpoints(): Promise<Checkpoints> {
  try {
    return kept(await folderOf());
  } catch (error) {
    return inMemory(`this browser keeps no files for the page (${(error as Error).message})`);
  }
}

async function folderOf(): Promise<FileSystemDirectoryHandle> {
  const root = await navigator.storage.getDirectory();
  return await root.getDirectoryHandle("heddle-playground", { create: true });
}

interface Slot {
  readonly read: () => Promise<Uint8Array<ArrayBuffer> | undefined>;
  readonly write: (bytes: Uint8Array<ArrayBuffer>) => Promise<void>;
  readonly remove: () => Promise<void>;
}

const kept = (folder: FileSystemDirectoryHandle): Checkpoints => inSlots(files.map((name) => slotOf(folder, name)));

/** Written through a synchronous handle, which all browsers have in workers. */
const slotOf = (folder: FileSystemDirectoryHandle, name: string): Slot => ({
  read: async () => {
    try {
      const file = await (await folder.getFileHandle(name)).getFile();
      return new Uint8Array(await file.arrayBuffer());
    } catch (error) {
      if ((error as Error).name === "NotFoundError") return undefined;
      throw error;
    }
  },
  write: async (bytes) => {
    const handle = await folder.getFileHandle(name, { create: true });
    const access = await (
      handle as unknown as { createSyncAccessHandle(): Promise<SyncAccess> }
    ).createSyncAccessHandle();
    try {
      access.truncate(0);
      access.write(bytes);
      access.flush();
    } finally {
      access.close();
    }
  },
  remove: async () => {
    await folder.removeEntry(name).catch((error: Error) => {
      if (error.name !== "NotFoundError") throw error;
    });
  },
});

/** What the DOM's types have for workers alone. */
interface SyncAccess {
  truncate(size: number): void;
  write(bytes: Uint8Array): number;
  flush(): void;
  close(): void;
}

function inMemory(why: string): Checkpoints {
  const slots = files.map((): Slot => {
    let held: Uint8Array<ArrayBuffer> | undefined;
    return {
      read: async () => held,
      write: async (bytes) => void (held = bytes),
      remove: async () => void (held = undefined),
    };
  });
  return { ...inSlots(slots), why };
}

function inSlots(slots: readonly Slot[]): Checkpoints {
  let turn = 0;
  /** A file that is cut off, or no safetensors, is as good as none. */
  const whole = async (slot: Slot, key: string) => {
    const bytes = await slot.read();
    if (!bytes) return undefined;
    try {
      const read = readSafetensors(bytes);
      return read.about.key === key ? read : undefined;
    } catch {
      return undefined;
    }
  };
  const stepOf = (read: ReadSafetensors | undefined) => Number(read?.about.step ?? -1);
  return {
    newest: async (key) => {
      const [a, b] = await Promise.all(slots.map((slot) => whole(slot, key)));
      turn = stepOf(a) > stepOf(b) ? 1 : 0;
      return stepOf(a) > stepOf(b) ? a : b;
    },
    save: async (key, step, tensors, more) => {
      await slots[turn]!.write(writeSafetensors(tensors, { ...more, key, step: String(step) }));
      turn = 1 - turn;
    },
    clear: async () => void (await Promise.all(slots.map((slot) => slot.remove()))),
  };
}
