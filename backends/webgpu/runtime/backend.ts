/** The WebGPU `Backend`: compiles graphs to programs for the sizes and outputs that runs request. */
import {
  type AdapterFacts,
  allocate,
  bindSizes,
  compileKernels,
  dimValue,
  elementCount,
  type Graph,
  graphSymbols,
  type HostTensor,
  hostTensor,
  inputName,
  type KernelOptions,
  type lowering,
  makeGraph,
  type Node,
  type PrecisionAsked,
  type PrecisionPath,
  type Program,
  precisionPath,
  type Sizes,
  spanned,
  UsageError,
} from "../../../compiler/index.ts";
import type { Backend, CompileOptions, Executable, RunOptions, Store } from "../../backend.ts";
import { checkFeeds, checkResidents, fetchedOutputs, onlyWritten } from "../../feeds.ts";
import { inTurn } from "../../in-turn.ts";
import { kernelFeaturesOf } from "../emit/wgsl.ts";
import type { GpuDevice } from "./device.ts";
import { Loader } from "./loading/loader.ts";
import { Pipelines } from "./pipelines.ts";
import { DeviceProgram, type KernelTime } from "./program.ts";
import { SharedSlots } from "./shared-slots.ts";
import { DeviceStore } from "./store.ts";

/** The adapter facts that schedule selection uses, read from an open device. */
export const factsOf = (gpu: GpuDevice): AdapterFacts => ({
  software: gpu.adapter.software,
  maxBindings: gpu.limits.maxStorageBuffersPerShaderStage,
  maxBindingBytes: gpu.limits.maxStorageBufferBindingSize,
  bindingAlignment: gpu.limits.minStorageBufferOffsetAlignment,
  maxWorkgroupInvocations: gpu.limits.maxComputeInvocationsPerWorkgroup,
  maxWorkgroupSize: [
    gpu.limits.maxComputeWorkgroupSizeX,
    gpu.limits.maxComputeWorkgroupSizeY,
    gpu.limits.maxComputeWorkgroupSizeZ,
  ],
  maxWorkgroupStorage: gpu.limits.maxComputeWorkgroupStorageSize,
  maxWorkgroupsPerDimension: gpu.limits.maxComputeWorkgroupsPerDimension,
  features: kernelFeaturesOf(gpu.features),
  subgroupSizes: gpu.adapter.subgroupSize,
  matrices: gpu.adapter.subgroupMatrices,
});

/** An executable that exposes its compiled program. */
export interface WebgpuExecutable extends Executable {
  /** The kernels and the memory plan for the sizes given. */
  program(sizes?: Sizes): Program;
  /** Runs once with each kernel timed separately. */
  profile(feeds: Readonly<Record<string, HostTensor>>, store: Store): Promise<readonly KernelTime[]>;
}

export interface WebgpuBackend extends Backend {
  readonly gpu: GpuDevice;
  compile(graph: Graph, options?: CompileOptions): Promise<WebgpuExecutable>;
}

/** The precision an open device uses for a requested one; its f16 may be present but distrusted. */
export function pathOn(gpu: GpuDevice, asked: PrecisionAsked, schedules?: lowering.ScheduleTables): PrecisionPath {
  const path = precisionPath(factsOf(gpu), asked, schedules);
  const fault = gpu.distrusted.get("shader-f16");
  return fault !== undefined && asked.precision === "f16" ? { ...path, why: fault } : path;
}

class Compiled implements WebgpuExecutable {
  readonly graph: Graph;
  readonly isGradual = true;
  private readonly gpu: GpuDevice;
  private readonly pipelines: Pipelines;
  private readonly slots: SharedSlots;
  private readonly kernelOptions: KernelOptions;
  private readonly sizes: Sizes;
  private readonly fixed: boolean;
  private readonly beside: readonly Compiled[];
  private readonly programs = new Map<string, Promise<DeviceProgram>>();
  private readonly disposed: (executable: Compiled) => void;
  private readonly written: readonly Node[];

  constructor(
    gpu: GpuDevice,
    pipelines: Pipelines,
    slots: SharedSlots,
    kernelOptions: KernelOptions,
    graph: Graph,
    { sizes = {}, fixed = false, precision, beside = [] }: CompileOptions,
    disposed: (executable: Compiled) => void,
  ) {
    this.disposed = disposed;
    this.graph = graph;
    this.written = onlyWritten(graph);
    this.gpu = gpu;
    this.pipelines = pipelines;
    this.slots = slots;
    this.kernelOptions = precision === undefined ? kernelOptions : { ...kernelOptions, precision };
    this.sizes = sizes;
    this.fixed = fixed;
    this.beside = beside.filter((other) => other instanceof Compiled);
  }

  /** Precompiles the program of a default run; with fixed sizes only if all are known. */
  async warm(): Promise<void> {
    const bound = bindSizes(this.graph, this.sizes);
    if (!this.fixed || graphSymbols(bound).length === 0) await this.ready(this.sizes, fetchedOutputs(this.graph));
  }

  program(sizes: Sizes = {}): Program {
    return compileKernels(bindSizes(this.graph, { ...this.sizes, ...sizes }), factsOf(this.gpu), this.kernelOptions);
  }

  /** The program for the outputs of a run; with fixed sizes also specialized to the run's sizes. */
  private ready(sizes: Sizes, fetch: readonly string[]): Promise<DeviceProgram> {
    const wanted = new Set([...fetch, ...Object.keys(this.graph.updates)]);
    const bound = this.fixed ? sizes : this.sizes;
    const key = JSON.stringify([Object.entries(bound).sort(), [...wanted].sort()]);
    const known = this.programs.get(key);
    if (known) return known;
    const program = this.build(bound, wanted);
    this.programs.set(key, program);
    program.catch(() => this.programs.delete(key)); // memory may be free again at the next run
    return program;
  }

  private async build(sizes: Sizes, wanted: ReadonlySet<string>): Promise<DeviceProgram> {
    const { name, inputs, outputs, updates } = bindSizes(this.graph, sizes);
    const needed = makeGraph(
      name,
      outputs.filter((o) => wanted.has(o.name)),
      inputs,
      updates,
    );
    const made = await Promise.allSettled(this.beside.flatMap((other) => [...other.programs.values()]));
    const beside = made.flatMap((m) => (m.status === "fulfilled" ? m.value.program : []));
    const options = { ...this.kernelOptions, beside };
    return spanned("compiler", `compile @${name}`, () =>
      DeviceProgram.create(this.gpu, compileKernels(needed, factsOf(this.gpu), options), this.pipelines, this.slots),
    );
  }

  async run(feeds: Readonly<Record<string, HostTensor>>, store: Store, options: RunOptions = {}) {
    const fetch = fetchedOutputs(this.graph, options.fetch);
    const { outputs } = await this.exclusive(feeds, store, fetch, (program, own, sizes) =>
      program.submit(feeds, own, fetch, sizes, options.arrived),
    );
    return outputs;
  }

  async profile(feeds: Readonly<Record<string, HostTensor>>, store: Store): Promise<readonly KernelTime[]> {
    return this.exclusive(feeds, store, fetchedOutputs(this.graph), (program, own, sizes) =>
      program.profile(feeds, own, sizes),
    );
  }

  /**
   * Serializes submissions: runs share buffers, and a store's updates must be seen in order. The device queues the
   * work.
   */
  private async exclusive<T>(
    feeds: Readonly<Record<string, HostTensor>>,
    store: Store,
    fetch: readonly string[],
    use: (program: DeviceProgram, store: DeviceStore, sizes: Sizes) => Promise<T>,
  ): Promise<T> {
    if (!(store instanceof DeviceStore))
      throw new UsageError("a graph compiled for WebGPU needs a store of the WebGPU backend");
    return inTurn([this, store], async () => {
      const held = (name: string) => store.find(name);
      const sizes = checkResidents(this.graph, held, checkFeeds(this.graph, feeds, this.sizes));
      await this.makeWritten(store, sizes);
      return use(await this.ready(sizes, fetch), store, sizes);
    });
  }

  /** Makes the states that a run only writes, where the store lacks them: kernels write into their buffers. */
  private async makeWritten(store: DeviceStore, sizes: Sizes): Promise<void> {
    for (const node of this.written) {
      if (store.find(inputName(node))) continue;
      const { dtype, axes } = node.type;
      const bound = axes.map(({ name, size }) => ({ name, size: dimValue(size, sizes) }));
      await store.write(inputName(node), hostTensor(dtype, bound, allocate(dtype, elementCount(bound))));
    }
  }

  dispose(): void {
    for (const program of this.programs.values()) void program.then((p) => p.dispose()).catch(() => undefined);
    this.programs.clear();
    this.disposed(this);
  }
}

/**
 * The backend of an open device; disposing of it disposes of its stores and of the device. `kernelOptions` apply to all
 * its programs: extra schedules, observers of the compiler stages.
 */
export function webgpuBackend(gpu: GpuDevice, kernelOptions: KernelOptions = {}): WebgpuBackend {
  const pipelines = new Pipelines(gpu);
  const slots = new SharedSlots(gpu);
  const loader = new Loader(gpu);
  const stores = new Set<DeviceStore>();
  const compiled = new Set<Compiled>();
  return {
    gpu,
    device: { backend: "webgpu", name: gpu.adapter.description, software: gpu.adapter.software },
    createStore() {
      const store = new DeviceStore(gpu, loader, (s) => stores.delete(s));
      stores.add(store);
      return store;
    },
    async compile(graph, options = {}) {
      const executable = new Compiled(gpu, pipelines, slots, kernelOptions, graph, options, (e) => compiled.delete(e));
      compiled.add(executable);
      try {
        await executable.warm();
      } catch (error) {
        executable.dispose();
        throw error;
      }
      return executable;
    },
    precision: (asked) => pathOn(gpu, asked, kernelOptions.schedules),
    pipelines: () => pipelines.size,
    dispose() {
      for (const e of [...compiled]) e.dispose();
      for (const s of [...stores]) s.dispose();
      gpu.dispose();
    },
  };
}
