/** Runs, compares and times kernels of one shape on their own buffers. */
import {
  type DType,
  deviceElementBytes,
  dimValue,
  gridOf,
  InternalError,
  type KernelVariant,
  kernelIr,
  type Node,
  type Sizes,
} from "../../../compiler/index.ts";
import { emitWgsl } from "../emit/wgsl.ts";
import type { GpuDevice } from "../runtime/device.ts";
import { storageBuffer, uniformBuffer } from "../runtime/memory.ts";
import type { Comparison } from "./compare.ts";
import { scopedAtOnce } from "./error-scope.ts";
import type { Samples } from "./samples.ts";
import type { Encode, Timer } from "./timer.ts";

/** Shared by all trials on a device. */
export interface Tools {
  readonly gpu: GpuDevice;
  readonly samples: Samples;
  readonly comparison: Comparison;
  readonly timer: Timer;
}

/** A kernel ready to dispatch. */
export interface Ready {
  readonly variant: KernelVariant;
  readonly encode: Encode;
}

/** The range of a tensor's elements that any of the kernels binds. */
interface Range {
  readonly root: Node;
  readonly from: number;
  readonly to: number;
  readonly written: boolean;
}

interface Tensor extends Range {
  readonly buffer: GPUBuffer;
  /** The reference kernel's result; only for written tensors. */
  readonly expected?: GPUBuffer;
}

const dtypeOf = ({ root }: Range): DType => root.type.dtype;

/** Minimum number of elements of a binding, including those reserved in its array type. */
const reachOf = ({ kernel, bindings }: KernelVariant, i: number, sizes: Sizes): number =>
  Math.max(dimValue(bindings[i]!.length, sizes), kernel.buffers[i]!.reserved ?? 0);

/** One range per tensor, from the first element that any kernel binds to the last. */
function rangesOf(variants: readonly KernelVariant[], sizes: Sizes): Range[] {
  const ranges = new Map<Node, Range>();
  for (const v of variants)
    v.bindings.forEach(({ root, start }, i) => {
      const known = ranges.get(root);
      const to = start + reachOf(v, i, sizes);
      ranges.set(root, {
        root,
        from: Math.min(start, known?.from ?? start),
        to: Math.max(to, known?.to ?? to),
        written: known?.written === true || v.kernel.buffers[i]!.access === "read_write",
      });
    });
  return [...ranges.values()];
}

export class Trial {
  private readonly tools: Tools;
  private readonly sizes: Sizes;
  private readonly tensors: Map<Node, Tensor>;
  private readonly uniform: GPUBuffer | undefined;

  /** `symbols` are the program's symbolic sizes, in the order of its uniform. */
  constructor(tools: Tools, variants: readonly KernelVariant[], symbols: readonly string[], sizes: Sizes) {
    const { gpu } = tools;
    this.tools = tools;
    this.sizes = sizes;
    const made = rangesOf(variants, sizes).map((range): [Node, Tensor] => {
      const bytes = (range.to - range.from) * deviceElementBytes(dtypeOf(range));
      const make = (label: string) => storageBuffer(gpu, bytes, label);
      return [range.root, { ...range, buffer: make("trial"), ...(range.written && { expected: make("expected") }) }];
    });
    this.tensors = new Map(made);
    if (symbols.length > 0) {
      this.uniform = uniformBuffer(gpu, 4 * symbols.length, "sizes");
      gpu.device.queue.writeBuffer(
        this.uniform,
        0,
        Int32Array.from(symbols, (s) => sizes[s]!),
      );
    }
    this.fill(() => true);
  }

  /** Compiles and binds a kernel; may run concurrently. Throws UnsupportedError if the device refuses it. */
  async ready(variant: KernelVariant): Promise<Ready> {
    const { gpu } = this.tools;
    const { kernel, bindings } = variant;
    const code = emitWgsl(kernel, { subgroupSizes: gpu.adapter.subgroupSize, robust: gpu.robust });
    const [label, entryPoint] = [kernel.name, "main"];
    const module = await scopedAtOnce(gpu, () => gpu.device.createShaderModule({ label, code }));
    const pipeline = await gpu.settle(
      gpu.device.createComputePipelineAsync({ label, layout: "auto", compute: { module, entryPoint } }),
    );
    const entries: GPUBindGroupEntry[] = bindings.map(({ root, start }, binding) => {
      const { buffer, from } = this.tensors.get(root)!;
      const bytes = deviceElementBytes(root.type.dtype);
      const size = Math.ceil((reachOf(variant, binding, this.sizes) * bytes) / 4) * 4;
      return { binding, resource: { buffer, offset: (start - from) * bytes, size } };
    });
    if (kernelIr.bindsSizes(kernel)) {
      if (!this.uniform) throw new InternalError(`kernel "${kernel.name}" reads sizes of a program that has none`);
      entries.push({ binding: entries.length, resource: { buffer: this.uniform } });
    }
    const layout = pipeline.getBindGroupLayout(0);
    const group = await scopedAtOnce(gpu, () => gpu.device.createBindGroup({ layout, entries }));
    const grid = gridOf(kernel, this.sizes);
    return {
      variant,
      encode: (pass) => {
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, group);
        pass.dispatchWorkgroups(...grid);
      },
    };
  }

  /** Resets the selected tensors to their initial sample values. */
  private fill(which: (t: Tensor) => boolean): void {
    const { gpu, samples } = this.tools;
    const encoder = gpu.device.createCommandEncoder();
    for (const t of this.tensors.values()) if (which(t)) samples.fill(encoder, t.buffer, dtypeOf(t));
    gpu.device.queue.submit([encoder.finish()]);
  }

  /** Runs a kernel once, from the same initial values as every other. */
  private async run({ encode }: Ready): Promise<void> {
    this.fill((t) => t.written);
    await this.tools.timer(encode, 1);
  }

  /** Runs the reference kernel and keeps its results. */
  async expect(ready: Ready): Promise<void> {
    await this.run(ready);
    const { device } = this.tools.gpu;
    const encoder = device.createCommandEncoder();
    for (const { buffer, expected } of this.tensors.values())
      if (expected) encoder.copyBufferToBuffer(buffer, 0, expected, 0, buffer.size);
    device.queue.submit([encoder.finish()]);
  }

  /** The largest difference of a kernel's results from the reference, relative to each tensor's largest value. */
  async difference(ready: Ready): Promise<number> {
    await this.run(ready);
    let worst = 0;
    for (const t of this.tensors.values())
      if (t.expected) worst = Math.max(worst, await this.tools.comparison.difference(t.buffer, t.expected, dtypeOf(t)));
    return worst;
  }

  /** Nanoseconds per dispatch. */
  time({ encode }: Ready, repetitions: number): Promise<number> {
    return this.tools.timer(encode, repetitions);
  }

  dispose(): void {
    for (const { buffer, expected } of this.tensors.values()) for (const b of [buffer, expected]) b?.destroy();
    this.uniform?.destroy();
  }
}
