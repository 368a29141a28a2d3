/** The door of WebGPU that only Node has: adapters of the machine, software ones included. */
export {
  type AdapterSource,
  type DeviceRequest,
  type ListedAdapter,
  listAdapters,
  type OpenedAdapter,
  openAdapters,
  requestDevice,
} from "./runtime/adapter.ts";
