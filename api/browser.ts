/** The package in the browser: a page or a worker. */

export { useFileSystem } from "../runtime/host/browser.ts";
export { folderFileSystem, memoryFileSystem, opfsFileSystem } from "../runtime/index.ts";
export { openDevice } from "./browser-device.ts";
export { picture } from "./browser-picture.ts";
export * from "./shared.ts";
