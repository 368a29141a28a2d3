/** Keeps what drivers and Dawn say to themselves off a person's terminal. */
import { closeSync, openSync } from "node:fs";

/** Descriptor of stderr. */
const stderr = 2;

/** Functions of the C library; none on Windows, whose Dawn takes D3D12 and says nothing. */
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
    return undefined; // a C library of another name: what is said is then shown
  }
}

/**
 * Runs one call with what native code writes to stderr thrown away until it returns: Dawn warns of each limit that it
 * lowers, and a Vulkan loader of each driver that it passes over, which our own errors say where it matters. With
 * VK_LOADER_DEBUG, which asks for such words, nothing is kept back.
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
