/** heddle's kernel profile: the time, operations and tensors of each kernel. */
import type { Store } from "../../backends/backend.ts";
import type { WebgpuExecutable } from "../../backends/webgpu/index.ts";
import { dimValue, type HostTensor, type ProgramKernel, printType } from "../../compiler/index.ts";
import type { KernelFigures } from "../subject.ts";

/** Runs once with every kernel timed separately. */
export async function kernelFigures(
  executable: WebgpuExecutable,
  feeds: Readonly<Record<string, HostTensor>>,
  store: Store,
): Promise<KernelFigures[]> {
  const { kernels } = executable.program();
  const times = await executable.profile(feeds, store);
  return times.map(({ name, kind, nanoseconds }, i) => {
    const k = kernels[i]!;
    const bytes = dimValue(k.bytesRead) + dimValue(k.bytesWritten);
    return {
      name,
      kind,
      nanoseconds,
      flops: dimValue(k.flops),
      bytes,
      writes: types(k, "read_write"),
      reads: types(k, "read"),
    };
  });
}

const types = ({ kernel, bindings }: ProgramKernel, access: string): string[] =>
  bindings.filter((_, i) => kernel.buffers[i]!.access === access).map(({ root }) => printType(root.type));
