/** A compiled program on a device: its buffers and pipelines; runs all its kernels in one submission or a few. */
import {
  type BufferUse,
  deviceBytes,
  deviceElementBytes,
  dimValue,
  gridOf,
  type HostTensor,
  inputName,
  type KernelVariant,
  kernelIr,
  type Node,
  type Program,
  type SizedAxis,
  type Sizes,
  slotBytes,
  timeline,
  UnsupportedError,
  UsageError,
  variantFor,
} from "../../../compiler/index.ts";
import type { RunOptions } from "../../backend.ts";
import { isResident } from "../../feeds.ts";
import type { GpuDevice } from "./device.ts";
import type { KernelTimer } from "./kernel-timer.ts";
import {
  type DeviceTensor,
  GrowingBuffer,
  mapModeRead,
  mostBytes,
  ReadBack,
  storageBuffer,
  uniformBuffer,
  upload,
  usage,
} from "./memory.ts";
import type { Pipelines } from "./pipelines.ts";
import { assertBindable, assertTypes, largestBinding } from "./program-limits.ts";
import { rootOf, type Segment, segmentsOf } from "./segments.ts";
import { type SharedSlots, SlotUser } from "./shared-slots.ts";
import type { DeviceStore } from "./store.ts";
import { type TracedRun, traceRun } from "./trace-run.ts";

/** The duration of one kernel, in nanoseconds. */
export interface KernelTime {
  readonly name: string;
  readonly kind: string;
  readonly nanoseconds: number;
}

/** A kernel variant with its pipeline. */
interface Compiled {
  readonly variant: KernelVariant;
  readonly pipeline: GPUComputePipeline;
}

/** Bind groups for one store, by kernel variant, with the state buffers they were created from. */
interface Bound {
  readonly groups: Map<Compiled, GPUBindGroup>;
  readonly states: readonly GPUBuffer[];
  readonly generation: number;
}

/** A kernel variant and its grid for one run. */
interface Dispatch {
  readonly compiled: Compiled;
  readonly grid: readonly [number, number, number];
}

/** Everything in a run that depends on its sizes. */
interface Sized {
  /** Values of the program's symbols, in order. */
  readonly values: Int32Array;
  readonly dispatches: readonly Dispatch[];
}

export class DeviceProgram {
  readonly program: Program;
  private readonly gpu: GpuDevice;
  /** By variant; those of one kernel in the order in which they are tried, the general one last. */
  private readonly compiled: ReadonlyMap<KernelVariant, Compiled>;
  private readonly slots: SlotUser;
  private readonly feeds = new Map<Node, GrowingBuffer>();
  private readonly tables = new Map<Node, GPUBuffer>();
  private readonly states: readonly Node[];
  /** Uniform buffer of the symbolic sizes of a run. */
  private readonly sizes: GPUBuffer | undefined;
  /** Incremented when a buffer is replaced by a larger one, which invalidates bind groups. */
  private generation = 0;
  private readonly bound = new WeakMap<DeviceStore, Bound>();
  private last: Sized | undefined;

  private constructor(
    gpu: GpuDevice,
    program: Program,
    compiled: ReadonlyMap<KernelVariant, Compiled>,
    slots: SharedSlots,
  ) {
    this.gpu = gpu;
    this.program = program;
    this.compiled = compiled;
    this.states = program.graph.inputs.filter(isResident);
    this.slots = new SlotUser(slots, program.graph.name);
    for (const n of program.graph.inputs)
      if (!isResident(n)) this.feeds.set(n, new GrowingBuffer(gpu, [deviceBytes(n)], inputName(n), "inputs"));
    for (const use of program.plan.buffers.values())
      if (use.kind === "table") this.tables.set(use.node, this.table(use.node));
    if (program.symbols.length > 0) this.sizes = uniformBuffer(gpu, 4 * program.symbols.length, "sizes");
  }

  /** Compiles the pipelines and allocates the buffers. Throws UnsupportedError where an adapter limit is exceeded. */
  static async create(
    gpu: GpuDevice,
    program: Program,
    pipelines: Pipelines,
    slots: SharedSlots,
  ): Promise<DeviceProgram> {
    assertTypes(gpu, program);
    for (const { root, length } of program.kernels.flatMap((k) => k.bindings))
      if (typeof length === "number") assertBindable(gpu, root, length * deviceElementBytes(root.type.dtype));
    const variants: KernelVariant[] = program.kernels.flatMap((k) => [k, ...k.special]);
    const made = await pipelines.of(variants.map((v) => v.kernel));
    const compiled = variants.map((variant, i) => [variant, { variant, pipeline: made[i]! }] as const);
    const device = new DeviceProgram(gpu, program, new Map(compiled), slots);
    const doing = `making the buffers of @${program.graph.name}`;
    try {
      for (const b of device.feeds.values()) b.reserveMost();
      device.slots.reserve(program.plan.slots.map(mostBytes), false);
      await gpu.allocated(device.made, doing);
      gpu.check(doing);
    } catch (error) {
      device.slots.refused();
      device.dispose();
      throw error;
    }
    return device;
  }

  private table(node: Node): GPUBuffer {
    const axes = node.type.axes as readonly SizedAxis[];
    const buffer = storageBuffer(this.gpu, dimValue(deviceBytes(node)), "constant", "constants");
    const data = Float64Array.from(node.attrs.values as readonly number[]);
    upload(this.gpu, buffer, { dtype: node.type.dtype, axes, data });
    return buffer;
  }

  /** Grows every buffer to the sizes of a run. */
  private reserve(sizes: Sizes): void {
    for (const b of this.feeds.values()) if (b.reserve(sizes)) this.generation++;
    // Kernels declare arrays of bounded symbolic size at their maximum length, however short they are in a run.
    const most = this.program.plan.slots.map(mostBytes);
    const bytes = slotBytes(this.program.plan, sizes).map((n, slot) => Math.max(n, most[slot]!));
    this.slots.reserve(bytes, this.program.symbols.length > 0);
  }

  private bufferOf(root: Node, store: DeviceStore): GPUBuffer {
    return this.bufferAt(this.program.plan.buffers.get(root) ?? { kind: "input", node: root }, store);
  }

  private bufferAt(use: BufferUse, store: DeviceStore): GPUBuffer {
    if (use.kind === "slot") return this.slots.bufferOf(use.slot);
    const own = this.feeds.get(use.node)?.buffer ?? this.tables.get(use.node);
    return own ?? store.tensor(inputName(use.node)).buffer;
  }

  private bind(store: DeviceStore): Bound {
    const states = this.states.map((n) => store.tensor(inputName(n)).buffer);
    const known = this.bound.get(store);
    const generation = this.generation + this.slots.generation;
    if (known?.generation === generation && known.states.every((b, i) => b === states[i])) return known;
    const bound = { groups: new Map(), states, generation };
    this.bound.set(store, bound);
    return bound;
  }

  private groupOf(one: Compiled, bound: Bound, store: DeviceStore): GPUBindGroup {
    const known = bound.groups.get(one);
    if (known) return known;
    const { kernel, bindings } = one.variant;
    const entries: GPUBindGroupEntry[] = bindings.map(({ root, start, length }, binding) => {
      const buffer = this.bufferOf(root, store);
      const bytes = deviceElementBytes(root.type.dtype);
      // Bindings of symbolic length extend as far as the buffer and the adapter allow, so other sizes reuse the bind
      // group.
      const reach = Math.min(buffer.size - start * bytes, largestBinding(this.gpu));
      const size = typeof length === "number" ? Math.ceil((length * bytes) / 4) * 4 : reach;
      return { binding, resource: { buffer, offset: start * bytes, size } };
    });
    if (kernelIr.bindsSizes(kernel)) entries.push({ binding: entries.length, resource: { buffer: this.sizes! } });
    const group = this.gpu.device.createBindGroup({ layout: one.pipeline.getBindGroupLayout(0), entries });
    bound.groups.set(one, group);
    return group;
  }

  /**
   * Submits every kernel once, at the given sizes. `outputs` resolves when the device has computed the fetched outputs;
   * `arrived` is called with each as soon as it is available.
   */
  async submit(
    feeds: Readonly<Record<string, HostTensor>>,
    store: DeviceStore,
    fetch: readonly string[],
    sizes: Sizes,
    arrived?: RunOptions["arrived"],
  ): Promise<{ readonly outputs: Promise<Record<string, HostTensor>> }> {
    let dispatches = await this.prepare(feeds, sizes);
    while (!this.slots.isThere) dispatches = await this.prepare(feeds, sizes); // another program ran out of memory
    const bound = this.bind(store); // no awaits from here to submission, so that no other program moves the slots
    const trace = traceRun(this.gpu, this.program);
    const isWhole = arrived === undefined || trace?.timer !== undefined;
    const whole: Segment = { to: dispatches.length, names: fetch };
    const segments = isWhole ? [whole] : segmentsOf(this.program, fetch);
    const readBacks = segments.map(({ names }) => this.readBack(names, store, sizes));
    let from = 0;
    for (const [i, { to }] of segments.entries()) {
      const encoder = this.gpu.device.createCommandEncoder();
      if (trace?.timer) this.dispatchTimed(encoder, trace.timer, dispatches, bound, store);
      else {
        const pass = encoder.beginComputePass();
        for (const one of dispatches.slice(from, to)) this.dispatch(pass, one, bound, store);
        pass.end();
      }
      readBacks[i]!.encode(encoder); // before the copies: an output may alias a state's old value
      from = to;
      if (i + 1 === segments.length) this.encodeCopies(encoder, store, sizes);
      if (i === 0) trace?.submits();
      this.gpu.device.queue.submit([encoder.finish()]);
    }
    return { outputs: this.outputs(segments, readBacks, trace, arrived) };
  }

  private readBack(names: readonly string[], store: DeviceStore, sizes: Sizes): ReadBack {
    const nodes = new Map(this.program.graph.outputs.map((o) => [o.name, o.node]));
    return new ReadBack(
      this.gpu,
      names.map((name) => this.output(nodes.get(name)!, store, sizes)),
      `${names.map((name) => `"${name}"`).join(", ")} of @${this.program.graph.name}`,
    );
  }

  private encodeCopies(encoder: GPUCommandEncoder, store: DeviceStore, sizes: Sizes): void {
    for (const { from, to, bytes } of this.program.plan.copies) {
      const [source, target] = [this.bufferAt(from, store), this.bufferAt(to, store)];
      encoder.copyBufferToBuffer(source, 0, target, 0, Math.ceil(dimValue(bytes, sizes) / 4) * 4);
    }
  }

  private async outputs(
    segments: readonly Segment[],
    readBacks: readonly ReadBack[],
    trace: TracedRun | undefined,
    arrived: RunOptions["arrived"],
  ): Promise<Record<string, HostTensor>> {
    const outputs: Record<string, HostTensor> = {};
    const read = segments.map(async ({ names }, i) => {
      for (const [k, value] of (await readBacks[i]!.read()).entries()) {
        outputs[names[k]!] = value;
        arrived?.(names[k]!, value);
      }
    });
    await Promise.all(read);
    if (segments.at(-1)!.names.length === 0)
      await this.gpu.settle(this.gpu.device.queue.onSubmittedWorkDone(), this.doing);
    await trace?.done();
    this.gpu.check(this.doing);
    return outputs;
  }

  private async prepare(feeds: Readonly<Record<string, HostTensor>>, sizes: Sizes): Promise<readonly Dispatch[]> {
    const { dispatches } = this.sizedFor(sizes);
    try {
      await this.gpu.allocated(this.made, this.doing);
    } catch (error) {
      this.release(); // buffers that the driver refused are invalid
      this.slots.refused();
      throw error;
    }
    const begun = performance.now();
    for (const [node, own] of this.feeds) upload(this.gpu, own.buffer, feeds[inputName(node)]!);
    if (this.feeds.size > 0)
      timeline()?.span("uploads", `feeds of @${this.program.graph.name}`, begun, performance.now());
    return dispatches;
  }

  /** Memory, uniforms and dispatches for the sizes of a run; cached, as the next run often has the same sizes. */
  private sizedFor(sizes: Sizes): Sized {
    const values = Int32Array.from(this.program.symbols, (s) => sizeOf(s, sizes));
    if (this.slots.isThere && this.last?.values.every((v, i) => v === values[i])) return this.last;
    this.reserve(sizes);
    if (this.sizes) this.gpu.device.queue.writeBuffer(this.sizes, 0, values);
    const dispatches = this.program.kernels.map((kernel): Dispatch => {
      const compiled = this.compiled.get(variantFor(kernel, sizes))!;
      for (const { root, length } of compiled.variant.bindings)
        if (typeof length !== "number")
          assertBindable(this.gpu, root, dimValue(length, sizes) * deviceElementBytes(root.type.dtype));
      return { compiled, grid: gridOf(compiled.variant.kernel, sizes) };
    });
    return (this.last = { values, dispatches });
  }

  private dispatch(pass: GPUComputePassEncoder, { compiled, grid }: Dispatch, bound: Bound, store: DeviceStore): void {
    pass.setPipeline(compiled.pipeline);
    pass.setBindGroup(0, this.groupOf(compiled, bound, store));
    pass.dispatchWorkgroups(...grid);
  }

  /** Dispatches each kernel in its own timed pass. */
  private dispatchTimed(
    encoder: GPUCommandEncoder,
    timer: KernelTimer,
    dispatches: readonly Dispatch[],
    bound: Bound,
    store: DeviceStore,
  ): void {
    for (const [i, one] of dispatches.entries()) {
      const pass = encoder.beginComputePass(timer.pass(i));
      this.dispatch(pass, one, bound, store);
      pass.end();
    }
    timer.encode(encoder);
  }

  private output(node: Node, store: DeviceStore, sizes: Sizes): DeviceTensor {
    const root = rootOf(this.program, node);
    return { buffer: this.bufferOf(root, store), dtype: node.type.dtype, axes: sizedAxes(node, sizes) };
  }

  /** Times every kernel in its own pass; throws UnsupportedError on an adapter without timestamps. */
  async profile(feeds: Readonly<Record<string, HostTensor>>, store: DeviceStore, sizes: Sizes): Promise<KernelTime[]> {
    const { device } = this.gpu;
    if (!this.gpu.features.has("timestamp-query"))
      throw new UnsupportedError("this adapter does not support timestamp queries");
    const dispatches = await this.prepare(feeds, sizes);
    const querySet = device.createQuerySet({ type: "timestamp", count: 2 });
    const buffer = (what: string, flags: number) =>
      this.gpu.memory.allocate({ what, kind: "read-backs", bytes: 16, usage: flags });
    const resolved = buffer("timestamps", usage.queryResolve | usage.copySrc);
    const staging = buffer("timestamps read-back", usage.mapRead | usage.copyDst);
    const times: KernelTime[] = [];
    for (const [i, { name, kind }] of this.program.kernels.entries()) {
      const encoder = device.createCommandEncoder();
      const pass = encoder.beginComputePass({
        timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
      });
      this.dispatch(pass, dispatches[i]!, this.bind(store), store);
      pass.end();
      encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
      encoder.copyBufferToBuffer(resolved, 0, staging, 0, 16);
      device.queue.submit([encoder.finish()]);
      await this.gpu.settle(staging.mapAsync(mapModeRead), `timing kernel "${name}"`);
      const [begin, end] = new BigUint64Array(staging.getMappedRange().slice(0));
      staging.unmap();
      times.push({ name, kind, nanoseconds: Number(end! - begin!) });
    }
    for (const b of [resolved, staging]) b.destroy();
    querySet.destroy();
    return times;
  }

  private get made(): GPUBuffer[] {
    return [...this.slots.made, ...[...this.feeds.values()].flatMap((b) => b.made)];
  }

  /** For error messages. */
  private get doing(): string {
    return `running @${this.program.graph.name}, ${this.program.kernels.length} kernels`;
  }

  /** Frees what the next run reallocates. */
  private release(): void {
    for (const b of this.feeds.values()) b.dispose();
    this.last = undefined;
    this.generation++;
  }

  dispose(): void {
    this.release();
    this.slots.dispose();
    for (const b of this.tables.values()) b.destroy();
    this.sizes?.destroy();
  }
}

/** The value of a symbol in a run; throws UsageError if neither a feed nor an option determines it. */
function sizeOf(symbol: string, sizes: Sizes): number {
  const size = Object.hasOwn(sizes, symbol) ? sizes[symbol] : undefined;
  if (size !== undefined) return size;
  throw new UsageError(`the symbolic size "${symbol}" is unknown: no feed has it as an axis, so give it a number`);
}

/** The axes of a node at the sizes of a run. */
const sizedAxes = (node: Node, sizes: Sizes): SizedAxis[] =>
  node.type.axes.map((a) => ({ name: a.name, size: dimValue(a.size, sizes) }));
