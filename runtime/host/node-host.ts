/** The host that Node is. */
export { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
export { crc32 } from "node:zlib";
export { drawingThreads } from "./node-drawing-threads.ts";
export { fileSystem } from "./node-file-system.ts";
export { startProgress } from "./node-progress.ts";
export { lockRunFolder } from "./node-run-lock.ts";
