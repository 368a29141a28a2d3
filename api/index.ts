/** The package in Node. */

export { type DeviceOptions, openDevice } from "./node-device.ts";
export { picture } from "./node-picture.ts";
export * from "./shared.ts";
