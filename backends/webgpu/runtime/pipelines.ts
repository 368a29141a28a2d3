/** Compute pipelines, one for each distinct WGSL text of a device. */
import { InternalError, type Kernel, type Stmt } from "../../../compiler/index.ts";
import { emitWgsl } from "../emit/wgsl.ts";
import type { GpuDevice } from "./device.ts";

export class Pipelines {
  private readonly gpu: GpuDevice;
  private readonly byText = new Map<string, Promise<GPUComputePipeline>>();
  /** Texts by the statements that kernels of one shape share, and by what else they are made of. */
  private readonly texts = new WeakMap<readonly Stmt[], Map<string, string>>();

  constructor(gpu: GpuDevice) {
    this.gpu = gpu;
  }

  /** How many distinct pipelines there are. */
  get size(): number {
    return this.byText.size;
  }

  /** The pipelines of all kernels, those of new texts compiled at the same time. */
  async of(kernels: readonly Kernel[]): Promise<GPUComputePipeline[]> {
    const pending = kernels.map((kernel) => {
      const code = this.textOf(kernel);
      let pipeline = this.byText.get(code);
      if (!pipeline) this.byText.set(code, (pipeline = this.create(kernel.name, code)));
      return pipeline;
    });
    return this.gpu.settle(Promise.all(pending), `compiling ${kernels.length} kernels`);
  }

  /** Emitting proves accesses and prints thousands of lines: once for the kernels of all layers that are of one shape. */
  private textOf(kernel: Kernel): string {
    const { body, name: _, grid: _grid, ...rest } = kernel;
    const known = this.texts.get(body) ?? new Map<string, string>();
    this.texts.set(body, known);
    const key = JSON.stringify(rest);
    const { adapter, robust } = this.gpu;
    const text = known.get(key) ?? emitWgsl(kernel, { subgroupSizes: adapter.subgroupSize, robust });
    known.set(key, text);
    return text;
  }

  private create(label: string, code: string): Promise<GPUComputePipeline> {
    const { device } = this.gpu;
    const module = device.createShaderModule({ label, code });
    const compute = { module, entryPoint: "main" };
    return device.createComputePipelineAsync({ label, layout: "auto", compute }).catch((cause: unknown) => {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new InternalError(`kernel "${label}" does not compile on "${this.gpu.adapter.description}": ${why}`, {
        cause,
      });
    });
  }
}
