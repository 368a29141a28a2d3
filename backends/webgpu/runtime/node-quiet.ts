/** Keeps the log output of drivers and Dawn off the terminal. */
import { closeSync, openSync } from "node:fs";

/** File descriptor. */
const stderr = 2;

/** C library functions; absent on Windows, where Dawn uses D3D12 and prints nothing. */
interface Descriptors {
  readonly dup: (file: number) => number;
  readonly dup2: (file: number, as: number) => number;
}

let known: Promise<Descriptors | undefined> | undefined;

async function descriptors(): Promise<Descriptors | undefined> {
  const library = { linux: "libc.so.6", darwin: "libSystem.B.dylib" }[process.platform as string];
  if (library === undefined) return undefined;
  const { default: koffi } = await import("koffi");
  try {
    const c = koffi.load(library);
    return { dup: c.func("int dup(int)"), dup2: c.func("int dup2(int, int)") };
  } catch {
    return undefined; // libc has another name: output is not suppressed
  }
}

/**
 * Runs a call with stderr discarded until it returns: Dawn warns about each limit it lowers, and the Vulkan loader
 * about each driver it skips; our own errors report these where they matter. With VK_LOADER_DEBUG set, which requests
 * such output, nothing is suppressed.
 */
export async function quietly<T>(call: () => T): Promise<Awaited<T>> {
  known ??= process.env.VK_LOADER_DEBUG ? Promise.resolve(undefined) : descriptors();
  const c = await known;
  const kept = c?.dup(stderr) ?? -1;
  if (!c || kept < 0) return await call();
  const nowhere = openSync("/dev/null", "w");
  let result: T;
  try {
    c.dup2(nowhere, stderr);
    result = call();
  } finally {
    c.dup2(kept, stderr);
    closeSync(nowhere);
    closeSync(kept);
  }
  return await result;
}
