/** The Node host. Types are spelled out, so that users of the package do not need Node's type declarations. */
import path from "node:path";
import zlib from "node:zlib";
import type { Host, Paths } from "./host.ts";

export { drawingThreads } from "./node-drawing-threads.ts";
export { fileSystem } from "./node-file-system.ts";
export { startProgress } from "./node-progress.ts";
export { lockRunFolder } from "./node-run-lock.ts";

export const { basename, dirname, isAbsolute, join, relative, resolve, sep }: Paths = path;

export const crc32: Host["crc32"] = zlib.crc32;
