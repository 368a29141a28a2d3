/** Node-only WebGPU entry point: the machine's adapters, software ones included. */
export {
  type AdapterSource,
  type DeviceRequest,
  type ListedAdapter,
  listAdapters,
  type OpenedAdapter,
  openAdapters,
  requestDevice,
} from "./runtime/adapter.ts";
export { systemBackend } from "./runtime/node-instance.ts";
export { type PhysicalDevice, physicalDevices } from "./runtime/node-vulkan-devices.ts";
export { waitAsleep } from "./runtime/wait.ts";
