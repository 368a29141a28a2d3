/** Files of a page: its own file system, and what it is given. */
import type { FileSystem } from "../../../runtime/file-system.ts";
import { blobFileSystem } from "../../../runtime/host/blob-files.ts";
import { useFileSystem } from "../../../runtime/host/browser.ts";
import { opfsFileSystem } from "../../../runtime/host/opfs-file-system.ts";
import { urlFiles } from "../../../runtime/host/url-files.ts";
import { openSafetensors } from "../../../runtime/index.ts";
import { deeds, outcome } from "../../host/deeds.ts";

/** The outcomes of all deeds in the page's own files. */
export async function outcomes(): Promise<unknown[]> {
  const fs = await opfsFileSystem();
  await fs.mkdir("/run");
  const found: unknown[] = [];
  for (const deed of deeds(fs, "/run")) found.push(await outcome(deed));
  return found;
}

/**
 * Begins to move a folder as a window does that is closed in the middle of it; gives what is there when it is opened
 * again.
 */
export async function interruptedMove(): Promise<Record<string, string[]>> {
  const fs = await opfsFileSystem();
  await fs.mkdir("/old/in");
  await fs.mkdir("/new");
  for (const name of ["/old/a", "/old/b", "/old/in/c"]) await (await fs.open(name, "wx")).close();
  await fs.mkdir("/.moves");
  const note = await fs.open("/.moves/x", "wx");
  const text = new TextEncoder().encode(JSON.stringify({ from: "/old", to: "/new" }));
  await note.write(text, 0, text.length, 0);
  await note.close();
  await fs.rename("/old/a", "/new/a");
  const again = await opfsFileSystem();
  const found: Record<string, string[]> = {};
  for (const folder of ["/new", "/new/in"]) found[folder] = (await again.readdir(folder)).sort();
  found["/"] = await Array.fromAsync((await navigator.storage.getDirectory()).keys());
  return found;
}

/** What is said of each file while it is written: its size as others see it. */
export async function sizesSeen(): Promise<number[]> {
  const fs = await opfsFileSystem();
  const file = await fs.open("/log", "wx");
  const seen: number[] = [];
  const look = async () => seen.push((await fs.stat("/log")).size);
  for (const at of [0, 5]) {
    await file.write(new Uint8Array(5), 0, 5, at);
    await look();
    await file.sync();
    await look();
  }
  await file.close();
  return seen;
}

export interface Weights {
  readonly names: string[];
  readonly values: number[];
}

/** All names in weights, and the values of one tensor. */
async function weights(fs: FileSystem, path: string, tensor: string): Promise<Weights> {
  const reader = await openSafetensors(path, { fs });
  try {
    const { data } = await reader.readTensor(tensor);
    return { names: [...reader.tensors.keys()].sort(), values: Array.from(data) };
  } finally {
    await reader.dispose();
  }
}

export async function fromBlob(url: string, tensor: string): Promise<Weights> {
  const blob = await (await fetch(url)).blob();
  return await weights(blobFileSystem(new Map([["model.safetensors", blob]])), "/", tensor);
}

/** Of the files that were chosen in the page's input. */
export async function fromInput(tensor: string): Promise<Weights> {
  const files = [...document.querySelector("input")!.files!];
  return await weights(blobFileSystem(new Map(files.map((file) => [file.name, file]))), "/", tensor);
}

/** Copies a file into OPFS and reads it there. */
export async function fromOpfs(url: string, tensor: string): Promise<Weights> {
  const fs = await opfsFileSystem();
  useFileSystem(fs);
  const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
  await fs.mkdir("/weights");
  const file = await fs.open("/weights/model.safetensors", "wx");
  await file.write(bytes, 0, bytes.length, 0);
  await file.close();
  return await weights(fs, "/weights", tensor);
}

/** Reads of a URL, with what was told of the cache. */
export async function fromUrl(url: string, tensor: string, cached = false): Promise<Weights & { told: unknown[] }> {
  const told: unknown[] = [];
  const cache = cached && {
    fs: await opfsFileSystem(),
    folder: "/cache",
    onRead: (...of: unknown[]) => told.push(of),
  };
  const { fs, path } = urlFiles(url, cache ? { cache } : {});
  return { ...(await weights(fs, path, tensor)), told };
}

/** The error of reading from a URL. */
export const refusal = (url: string): Promise<string> =>
  fromUrl(url, "a").then(
    () => "none",
    (error: Error) => `${error.name}: ${error.message}`,
  );
