/** Compute pipeline cache: one per distinct WGSL text on a device, whatever the number of its backends. */
import { InternalError, type Kernel, type Stmt } from "../../../compiler/index.ts";
import { emitWgsl } from "../emit/wgsl.ts";
import type { GpuDevice } from "./device.ts";

type Pipeline = Promise<GPUComputePipeline>;

/** Pipelines of a device that a backend still holds, by text. WebGPU never shares those whose layouts are automatic. */
class OfDevice {
  private readonly byText = new Map<string, WeakRef<Pipeline>>();
  private readonly forget = new FinalizationRegistry<string>((code) => {
    if (!this.byText.get(code)?.deref()) this.byText.delete(code);
  });

  of(code: string, create: () => Pipeline): Pipeline {
    const found = this.byText.get(code)?.deref();
    if (found) return found;
    const made = create();
    this.byText.set(code, new WeakRef(made));
    this.forget.register(made, code);
    made.catch(() => this.byText.delete(code));
    return made;
  }
}

const devices = new WeakMap<GPUDevice, OfDevice>();

function ofDevice(device: GPUDevice): OfDevice {
  const known = devices.get(device) ?? new OfDevice();
  devices.set(device, known);
  return known;
}

/** The pipelines of a backend, which it holds as long as it lives. */
export class Pipelines {
  private readonly gpu: GpuDevice;
  private readonly byText = new Map<string, Pipeline>();
  /** WGSL cached by the statement list that kernels of one shape share, then by the kernel's other fields. */
  private readonly texts = new WeakMap<readonly Stmt[], Map<string, string>>();

  constructor(gpu: GpuDevice) {
    this.gpu = gpu;
  }

  /** Number of distinct pipelines. */
  get size(): number {
    return this.byText.size;
  }

  /** The pipelines of the kernels; new ones compile concurrently. */
  async of(kernels: readonly Kernel[]): Promise<GPUComputePipeline[]> {
    const pending = kernels.map((kernel) => {
      const code = this.textOf(kernel);
      let pipeline = this.byText.get(code);
      if (!pipeline) {
        pipeline = ofDevice(this.gpu.device).of(code, () => this.create(kernel.name, code));
        this.byText.set(code, pipeline);
        pipeline.catch(() => this.byText.delete(code));
      }
      return pipeline;
    });
    return this.gpu.settle(Promise.all(pending), `compiling ${kernels.length} kernels`);
  }

  /** Emission proves accesses in bounds and prints thousands of lines, so kernels of the same shape share one text. */
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

  private create(label: string, code: string): Pipeline {
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
