/** Dawn in Node: creates instances and keeps them alive. */
import { UnsupportedError } from "../../../compiler/index.ts";
import type { GraphicsBackend } from "./device.ts";

/** The Dawn name of a backend; `browser` is not a Dawn backend. */
export type DawnBackend = Exclude<GraphicsBackend, "browser">;

/**
 * Dawn silently ignores unknown names, so code checks `features`, never a flag.
 * allow_unsafe_apis: subgroup matrices. vulkan_enable_f16_on_nvidia: Dawn hides f16, and with it the tensor cores, on
 * NVIDIA drivers before 615.71. timestamp_quantization: rounds timestamps to 65,536 ns, too coarse to time a kernel.
 * disable_robustness, if requested: Dawn clamps no index (decision 21).
 */
const dawnFlags = (robust: boolean): readonly string[] => [
  `enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia${robust ? "" : ",disable_robustness"}`,
  "disable-dawn-features=timestamp_quantization",
];

/** Kept for the life of the process: Dawn aborts the process if an instance is garbage-collected. */
const instances = new Set<GPU>();

/** The native graphics API of this platform. */
export function systemBackend(): DawnBackend {
  if (process.platform === "darwin") return "metal";
  return process.platform === "win32" ? "d3d12" : "vulkan";
}

/**
 * Creates a Dawn instance; without `robust`, for kernels that never access memory out of bounds. It finds its drivers
 * at the first `requestAdapter`, so set their environment variables around that call.
 * Defines the globals that a page has (GPUBufferUsage and the like), so that the same code runs in both.
 * With `named`, skips adapters whose names do not contain that text.
 * Throws UnsupportedError if the `webgpu` package has no binary for this machine.
 */
export async function createInstance(backend: DawnBackend, robust = true, named?: string): Promise<GPU> {
  const { create, globals } = await import("webgpu").catch((cause: unknown) => {
    throw new UnsupportedError(
      `Dawn cannot be loaded on ${process.platform} ${process.arch}: ${cause instanceof Error ? cause.message : cause}\n` +
        "  hint: the webgpu package has binaries for Linux and Windows on x64 and arm64 and for macOS; use the device cpu elsewhere (--device cpu)",
      { cause },
    );
  });
  for (const [name, value] of Object.entries(globals))
    if (!(name in globalThis)) Object.assign(globalThis, { [name]: value });
  const only = named === undefined ? [] : [`adapter=${named}`];
  const instance = create([`backend=${backend}`, ...only, ...dawnFlags(robust)]);
  instances.add(instance);
  return instance;
}
