/** The physical devices visible to Vulkan, by UUID: WebGPU cannot distinguish two of the same name. */
import { loadSystemLoader } from "./node-vulkan.ts";

export interface PhysicalDevice {
  /** VkPhysicalDeviceIDProperties.deviceUUID in hexadecimal: the same in every process on a machine. */
  readonly id: string;
  readonly name: string;
  /** Whether kernels run on CPU threads. */
  readonly software: boolean;
}

// Constants and struct offsets from vulkan_core.h, for 64-bit machines.
const types = { application: 0, instance: 1, properties2: 1_000_059_001, ids: 1_000_071_004 } as const;
const vulkan11 = (1 << 22) | (1 << 12);
const at = { deviceType: 16, deviceName: 20, nameBytes: 256, afterHeader: 16, idBytes: 16 } as const;
const cpuType = 4;
/** At least the size of VkPhysicalDeviceProperties2. */
const propertiesBytes = 2048;

/** In Vulkan's enumeration order; empty if there is no loader or driver. */
export async function physicalDevices(): Promise<readonly PhysicalDevice[]> {
  if (!(await loadSystemLoader())) return [];
  const { default: koffi } = await import("koffi");
  const vulkan = koffi.load("libvulkan.so.1");
  const create = vulkan.func("vkCreateInstance", "int", ["void *", "uintptr_t", "void *"]);
  const destroy = vulkan.func("vkDestroyInstance", "void", ["uintptr_t", "uintptr_t"]);
  const enumerate = vulkan.func("vkEnumeratePhysicalDevices", "int", ["uintptr_t", "void *", "void *"]);
  const describe = vulkan.func("vkGetPhysicalDeviceProperties2", "void", ["uintptr_t", "void *"]);

  const application = memory(48);
  application.setUint32(0, types.application, true);
  application.setUint32(44, vulkan11, true);
  const info = memory(64);
  info.setUint32(0, types.instance, true);
  info.setBigUint64(24, koffi.address(application.buffer), true);
  const instance = memory(8);
  if (create(info.buffer, 0, instance.buffer) !== 0) return [];
  const handle = instance.getBigUint64(0, true);
  try {
    const count = memory(4);
    if (enumerate(handle, count.buffer, null) !== 0) return [];
    const devices = memory(8 * Math.max(count.getUint32(0, true), 1));
    if (enumerate(handle, count.buffer, devices.buffer) !== 0) return [];
    return Array.from({ length: count.getUint32(0, true) }, (_, i) => {
      const [ids, properties] = [memory(64), memory(propertiesBytes)];
      ids.setUint32(0, types.ids, true);
      properties.setUint32(0, types.properties2, true);
      properties.setBigUint64(8, koffi.address(ids.buffer), true);
      describe(devices.getBigUint64(8 * i, true), properties.buffer);
      const name = new Uint8Array(properties.buffer, at.afterHeader + at.deviceName, at.nameBytes);
      return {
        id: Buffer.from(new Uint8Array(ids.buffer, at.afterHeader, at.idBytes)).toString("hex"),
        name: new TextDecoder().decode(name.subarray(0, name.indexOf(0))),
        software: properties.getUint32(at.afterHeader + at.deviceType, true) === cpuType,
      };
    });
  } finally {
    destroy(handle, 0);
  }
}

const memory = (bytes: number): DataView<ArrayBuffer> => new DataView(new ArrayBuffer(bytes));
