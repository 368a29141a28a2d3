/** What a program needs of an adapter: the f16 feature, and bindings within its limit. */
import {
  largestArray,
  locationOf,
  type Node,
  nodesOf,
  type Program,
  printLocation,
  tensorName,
  UnsupportedError,
} from "../../../compiler/index.ts";
import type { GpuDevice } from "./device.ts";

/** Throws UnsupportedError if a kernel writes f16 and the adapter lacks shader-f16; reading f16 needs no feature. */
export function assertTypes(gpu: GpuDevice, program: Program): void {
  if (gpu.features.has("shader-f16")) return;
  const half = program.kernels.find((k) => k.kernel.buffers.some((b) => b.dtype === "f16" && b.access !== "read"));
  if (!half) return;
  const made = nodesOf(program.graph).find(
    (n) => n.type.dtype === "f16" && n.operands.every((o) => o.type.dtype !== "f16"),
  );
  const place = made && `\n  the f16 comes from ${made.op} at ${printLocation(locationOf(made.birth))}`;
  throw new UnsupportedError(
    `"${gpu.adapter.description}" has no f16 (feature shader-f16), which kernel "${half.name}" needs${place ?? ""}\n  hint: compute in f32 (weights can still be stored in f16, which every adapter can read), or use the device cpu (--device cpu)`,
  );
}

/** The largest binding of a device, in bytes. */
export const largestBinding = ({ limits }: GpuDevice): number => {
  const most = Math.min(limits.maxStorageBufferBindingSize, largestArray);
  return most - (most % 4); // bindings are whole words
};

/** Throws UnsupportedError if a binding of `bytes` exceeds the adapter's limit. */
export function assertBindable(gpu: GpuDevice, root: Node, bytes: number): void {
  const most = largestBinding(gpu);
  if (bytes <= most) return;
  throw new UnsupportedError(
    `a kernel reads or writes ${bytes} bytes of ${tensorName(root)} at once; "${gpu.adapter.description}" binds at most ${most}`,
  );
}
