/** The package in Node. */

export { openDevice } from "./node-device.ts";
export { picture } from "./node-picture.ts";
export * from "./shared.ts";
