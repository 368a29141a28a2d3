/** Dawn in Node: creates its instances, one per graphics backend, and keeps them alive. */
import { UnsupportedError } from "../../../compiler/index.ts";
import type { GraphicsBackend } from "./device.ts";

/** Dawn's name of the backend that we ask for; `browser` is none of Dawn's. */
export type DawnBackend = Exclude<GraphicsBackend, "browser">;

/**
 * Unknown names are ignored by Dawn in silence, so code asserts on `features`, never on a flag.
 * allow_unsafe_apis: subgroup matrices. vulkan_enable_f16_on_nvidia: Dawn hides f16, and with it the tensor cores, on
 * NVIDIA drivers before 615.71. timestamp_quantization: rounds timestamps to 65,536 ns, too coarse to time a kernel.
 * disable_robustness, where it is asked for: Dawn clamps no index (decision 21).
 */
const dawnFlags = (robust: boolean): readonly string[] => [
  `enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia${robust ? "" : ",disable_robustness"}`,
  "disable-dawn-features=timestamp_quantization",
];

/** Live for as long as the process: when an instance is collected as garbage, Dawn aborts the process. */
const instances = new Set<GPU>();

/** The backend that WebGPU stands on where this process runs. */
export function systemBackend(): DawnBackend {
  if (process.platform === "darwin") return "metal";
  return process.platform === "win32" ? "d3d12" : "vulkan";
}

/**
 * Creates a Dawn instance; without `robust`, one for kernels that are known to stay within their memory. It finds its drivers at the first `requestAdapter`, so set their environment around that call.
 * Gives the process the globals that a page has (GPUBufferUsage and the like), so that one code serves both.
 * With `named`, adapters whose names lack these words are passed over.
 * Throws UnsupportedError where the `webgpu` package has no binary for this machine.
 */
export async function createInstance(backend: DawnBackend, robust = true, named?: string): Promise<GPU> {
  const { create, globals } = await import("webgpu").catch((cause: unknown) => {
    throw new UnsupportedError(
      `Dawn does not load on ${process.platform} ${process.arch}: ${cause instanceof Error ? cause.message : cause}\n` +
        "  hint: the webgpu package has binaries for Linux and Windows on x64 and arm64 and for macOS; use --device cpu elsewhere",
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
