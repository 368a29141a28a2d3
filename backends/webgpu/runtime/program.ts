/** A compiled program on a device: its buffers, its pipelines, and one run of all its kernels in one submission. */
import {
  type Expr,
  elementCount,
  type HostTensor,
  InternalError,
  inputName,
  type Node,
  type Program,
  printType,
  type SizedAxis,
  type TensorType,
  UnsupportedError,
  UsageError,
} from "../../../compiler/index.ts";
import { isResident } from "../../feeds.ts";
import type { GpuDevice } from "./device.ts";
import { type DeviceTensor, elementBytes, mapModeRead, ReadBack, storageBuffer, upload, usage } from "./memory.ts";
import type { Pipelines } from "./pipelines.ts";
import type { DeviceStore } from "./store.ts";

/** How long one kernel took, in nanoseconds. */
export interface KernelTime {
  readonly name: string;
  readonly kind: string;
  readonly nanoseconds: number;
}

const sized = (type: TensorType) => type.axes as readonly SizedAxis[];
const bytesOf = (type: TensorType) => elementCount(sized(type)) * elementBytes(type.dtype);

/** Throws UnsupportedError where a kernel writes a dtype that the adapter does not have; reading f16 needs no feature. */
function assertTypes(gpu: GpuDevice, program: Program): void {
  if (gpu.features.has("shader-f16")) return;
  const half = program.kernels.find((k) => k.kernel.buffers.some((b) => b.dtype === "f16" && b.access !== "read"));
  if (!half) return;
  throw new UnsupportedError(
    `"${gpu.adapter.description}" has no f16 (feature shader-f16), which kernel "${half.name}" writes\n  hint: use f32, or --device cpu`,
  );
}

function constantOf(e: Expr): number {
  if (e.kind === "const") return e.value;
  throw new InternalError("a grid of unknown size reached the device");
}

/** Bind groups for one store, with the buffers that they were made of. */
interface Bound {
  readonly groups: readonly GPUBindGroup[];
  readonly states: readonly GPUBuffer[];
}

export class DeviceProgram {
  readonly program: Program;
  private readonly gpu: GpuDevice;
  private readonly pipelines: readonly GPUComputePipeline[];
  private readonly slots: readonly GPUBuffer[];
  /** Feeds and constant tables. */
  private readonly own = new Map<Node, GPUBuffer>();
  private readonly states: readonly Node[];
  private readonly feeds: readonly Node[];
  private readonly bound = new WeakMap<DeviceStore, Bound>();

  private constructor(gpu: GpuDevice, program: Program, pipelines: readonly GPUComputePipeline[]) {
    this.gpu = gpu;
    this.program = program;
    this.pipelines = pipelines;
    this.states = program.graph.inputs.filter(isResident);
    this.feeds = program.graph.inputs.filter((n) => !isResident(n));
    this.slots = program.plan.slots.map((bytes, i) => storageBuffer(gpu, bytes, `slot ${i}`));
    for (const n of this.feeds) this.own.set(n, storageBuffer(gpu, bytesOf(n.type), inputName(n)));
    for (const use of program.plan.buffers.values())
      if (use.kind === "table") this.own.set(use.node, this.table(use.node));
  }

  /** Compiles the pipelines and makes the buffers. Throws UnsupportedError where a limit of the adapter is passed. */
  static async create(gpu: GpuDevice, program: Program, pipelines: Pipelines): Promise<DeviceProgram> {
    assertTypes(gpu, program);
    const compiled = await pipelines.of(program.kernels.map((k) => k.kernel));
    const made = new DeviceProgram(gpu, program, compiled);
    gpu.check();
    return made;
  }

  private table(node: Node): GPUBuffer {
    const buffer = storageBuffer(this.gpu, bytesOf(node.type), "constant");
    const data = Float64Array.from(node.attrs.values as readonly number[]);
    upload(this.gpu, buffer, { dtype: node.type.dtype, axes: sized(node.type), data });
    return buffer;
  }

  private bufferOf(root: Node, store: DeviceStore): GPUBuffer {
    const use = this.program.plan.buffers.get(root);
    if (use?.kind === "slot") return this.slots[use.slot]!;
    return this.own.get(root) ?? this.state(root, store).buffer;
  }

  private state(node: Node, store: DeviceStore): DeviceTensor {
    const tensor = store.tensor(inputName(node));
    if (printType(tensor) === printType(node.type)) return tensor;
    throw new UsageError(
      `"${inputName(node)}" is ${printType(tensor)} in the store, but graph @${this.program.graph.name} declares ${printType(node.type)}`,
    );
  }

  private bind(store: DeviceStore): Bound {
    const states = this.states.map((n) => this.state(n, store).buffer);
    const known = this.bound.get(store);
    if (known?.states.every((b, i) => b === states[i])) return known;
    const groups = this.program.kernels.map(({ bindings, kernel }, i) =>
      this.gpu.device.createBindGroup({
        layout: this.pipelines[i]!.getBindGroupLayout(0),
        entries: bindings.map(({ root, start, length }, binding) => {
          const bytes = elementBytes(root.type.dtype);
          const size = Math.ceil((length * bytes) / 4) * 4;
          this.assertBindable(size, kernel.name);
          return { binding, resource: { buffer: this.bufferOf(root, store), offset: start * bytes, size } };
        }),
      }),
    );
    const bound = { groups, states };
    this.bound.set(store, bound);
    return bound;
  }

  private assertBindable(size: number, kernel: string): void {
    const most = this.gpu.limits.maxStorageBufferBindingSize;
    if (size <= most) return;
    throw new UnsupportedError(
      `kernel "${kernel}" binds a tensor of ${size} bytes; "${this.gpu.adapter.description}" binds at most ${most}`,
    );
  }

  /** Runs every kernel once and reads the outputs named. */
  async run(feeds: Readonly<Record<string, HostTensor>>, store: DeviceStore, fetch: readonly string[]) {
    const bound = this.prepare(feeds, store);
    const encoder = this.gpu.device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (let i = 0; i < this.program.kernels.length; i++) this.dispatch(pass, i, bound);
    pass.end();
    for (const { from, to } of this.program.plan.copies) {
      encoder.copyBufferToBuffer(this.output(from, store).buffer, 0, this.state(to, store).buffer, 0, bytesOf(to.type));
    }
    const nodes = new Map(this.program.graph.outputs.map((o) => [o.name, o.node]));
    const readBack = new ReadBack(
      this.gpu,
      fetch.map((name) => this.output(nodes.get(name)!, store)),
    );
    readBack.encode(encoder);
    this.gpu.device.queue.submit([encoder.finish()]);
    const values = await readBack.read();
    if (values.length === 0) await this.gpu.settle(this.gpu.device.queue.onSubmittedWorkDone());
    this.gpu.check();
    return Object.fromEntries(fetch.map((name, i) => [name, values[i]!]));
  }

  private prepare(feeds: Readonly<Record<string, HostTensor>>, store: DeviceStore): Bound {
    for (const n of this.feeds) upload(this.gpu, this.own.get(n)!, feeds[inputName(n)]!);
    return this.bind(store);
  }

  private dispatch(pass: GPUComputePassEncoder, i: number, bound: Bound): void {
    const [x, y, z] = this.program.kernels[i]!.kernel.grid.map(constantOf);
    pass.setPipeline(this.pipelines[i]!);
    pass.setBindGroup(0, bound.groups[i]!);
    pass.dispatchWorkgroups(x!, y, z);
  }

  private output(node: Node, store: DeviceStore): DeviceTensor {
    const root = this.program.storage.get(node)?.root ?? node;
    return { buffer: this.bufferOf(root, store), dtype: node.type.dtype, axes: sized(node.type) };
  }

  /** Times every kernel in a pass of its own; throws UnsupportedError on an adapter without timestamps. */
  async profile(feeds: Readonly<Record<string, HostTensor>>, store: DeviceStore): Promise<KernelTime[]> {
    const { device } = this.gpu;
    if (!this.gpu.features.has("timestamp-query")) throw new UnsupportedError("this adapter has no timestamps");
    const bound = this.prepare(feeds, store);
    const { kernels } = this.program;
    const querySet = device.createQuerySet({ type: "timestamp", count: 2 });
    const resolved = device.createBuffer({ size: 16, usage: usage.queryResolve | usage.copySrc });
    const staging = device.createBuffer({ size: 16, usage: usage.mapRead | usage.copyDst });
    const times: KernelTime[] = [];
    for (const [i, { name, kind }] of kernels.entries()) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass({
        timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
      });
      this.dispatch(pass, i, bound);
      pass.end();
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16);
      device.queue.submit([encoder.finish()]);
      await this.gpu.settle(staging.mapAsync(mapModeRead));
      const [begin, end] = new BigUint64Array(staging.getMappedRange().slice(0));
      staging.unmap();
      times.push({ name, kind, nanoseconds: Number(end! - begin!) });
    }
    for (const b of [resolved, staging]) b.destroy();
    querySet.destroy();
    return times;
  }

  dispose(): void {
    for (const b of [...this.slots, ...this.own.values()]) b.destroy();
  }
}
