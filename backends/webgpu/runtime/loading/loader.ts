/**
 * Loads tensors into device memory: files are read directly into mapped staging buffers, and the device converts and
 * checks the values. Host memory use is two staging buffers, however much is loaded, with no intermediate copy.
 */
import { elementCount, spanned } from "../../../../compiler/index.ts";
import type { StoredTensor } from "../../../backend.ts";
import type { GpuDevice } from "../device.ts";
import { bufferBytes } from "../device-memory.ts";
import { mapModeRead, usage } from "../memory.ts";
import { type Chunk, chunksOf, cutElements, type Piece, pieceBytes, stagedBytes, storedBytes } from "./chunks.ts";
import { Conversions, elementsOfGroup, parameterWords } from "./convert.ts";
import { type Staging, stagingBytes, throughStaging } from "./staging-ring.ts";

/** A tensor and its destination buffer. */
export interface Loaded {
  readonly name: string;
  readonly tensor: StoredTensor;
  readonly buffer: GPUBuffer;
}

/** Bytes per read: several run concurrently, since a single thread copies slower than the bus. */
const readBytes = 8 * 2 ** 20;

/** Fault value of a tensor without a fault. */
const noFault = 0xffffffff;

/** A load in progress. */
interface Load {
  readonly tensors: readonly Loaded[];
  /** For errors. */
  readonly doing: string;
  /** The first non-finite element of each tensor. */
  readonly faults: GPUBuffer;
  /** Holds stored bytes on the device until they are converted; absent if nothing is converted. */
  readonly scratch: GPUBuffer | undefined;
  /** Dispatch parameters of one chunk at a time. */
  readonly parameters: GPUBuffer;
}

export class Loader {
  private readonly gpu: GpuDevice;
  private readonly conversions: Conversions;
  private readonly chunkBytes: number;

  /** `chunkBytes` is the maximum size of a staging buffer. */
  constructor(gpu: GpuDevice, chunkBytes = stagingBytes) {
    this.gpu = gpu;
    this.conversions = new Conversions(gpu);
    this.chunkBytes = chunkBytes;
  }

  /** Fills the buffers. Throws the `notFinite` error of a tensor with a non-finite element. */
  async load(tensors: readonly Loaded[]): Promise<void> {
    if (tensors.length === 0) return;
    const bytes = stagedBytes(tensors.map((t) => t.tensor));
    await spanned("uploads", doingOf(tensors), () => this.loadAll(tensors), { tensors: tensors.length, bytes });
  }

  private async loadAll(given: readonly Loaded[]): Promise<void> {
    const { software } = this.gpu.adapter;
    const tensors = software ? given.map((l) => ({ ...l, tensor: convertedByHost(l.tensor) })) : given;
    const stored = tensors.map((t) => t.tensor);
    const most = Math.min(this.chunkBytes, bindable(this.gpu), Math.max(stagedBytes(stored), 4 * cutElements));
    const chunks = [...chunksOf(stored, most)];
    if (chunks.length === 0) return;
    const dispatches = Math.max(...chunks.map((c) => c.pieces.filter(({ tensor }) => isDispatched(tensor)).length));
    const doing = doingOf(tensors);
    const load: Load = {
      tensors,
      doing,
      faults: this.buffer("load faults", 4 * tensors.length, usage.storage | usage.copyDst | usage.copySrc),
      scratch: stored.some(isConverted) ? this.buffer("load scratch", most, usage.storage | usage.copyDst) : undefined,
      parameters: this.buffer("load parameters", this.parameterStep * dispatches, usage.uniform | usage.copyDst),
    };
    try {
      await this.gpu.allocated(load.scratch ? [load.scratch] : [], doing);
      this.gpu.device.queue.writeBuffer(load.faults, 0, new Uint32Array(tensors.length).fill(noFault));
      await throughStaging(this.gpu, { bytes: bufferBytes(most), doing }, chunks.values(), (chunk, staging) =>
        this.loadChunk(load, chunk, staging),
      );
      if (stored.some(isDispatched)) await this.throwFault(load);
      else await this.gpu.settle(this.gpu.device.queue.onSubmittedWorkDone(), doing);
    } catch (cause) {
      // If the device was lost, this throws that error instead.
      await this.gpu.settle(Promise.reject(cause), doing).catch(asRead);
    } finally {
      for (const b of [load.faults, load.scratch, load.parameters]) b?.destroy();
    }
  }

  private buffer(label: string, bytes: number, flags: number): GPUBuffer {
    return this.gpu.memory.allocate({ what: label, kind: "staging", bytes, usage: flags });
  }

  private get parameterStep(): number {
    return this.gpu.limits.minUniformBufferOffsetAlignment;
  }

  private async loadChunk(load: Load, chunk: Chunk, staging: Staging): Promise<void> {
    const memory = await staging.map();
    // Wait for all reads even if one fails: memory that is being read into must stay mapped.
    const fill = () => Promise.allSettled(chunk.pieces.flatMap((piece) => fillPiece(piece, memory)));
    const facts = { tensors: chunk.pieces.length, bytes: chunk.bytes };
    const reads = await this.gpu.memory.inUse(() => spanned("files", "into a staging buffer", fill, facts));
    for (const read of reads) if (read.status === "rejected") throw new Unread(read.reason);
    const pipelines = await Promise.all(
      chunk.pieces.map(({ tensor }) =>
        isDispatched(tensor) ? this.conversions.pipeline(conversionOf(tensor)) : undefined,
      ),
    );
    // No awaits from here on: the parameter write must directly precede the commands that read it.
    const encoder = this.gpu.device.createCommandEncoder();
    const step = this.parameterStep / 4;
    const parameters = new Uint32Array(step * pipelines.filter(Boolean).length);
    let dispatched = 0;
    for (const [i, piece] of chunk.pieces.entries()) {
      copyPiece(encoder, load, piece, staging.buffer);
      const pipeline = pipelines[i];
      if (!pipeline) continue;
      const source = isConverted(piece.tensor) ? piece.at / 4 : 0;
      parameters.set([source, piece.count, piece.index, piece.first], step * dispatched);
      this.dispatch(encoder, load, piece, pipeline, 4 * step * dispatched++);
    }
    if (dispatched > 0) this.gpu.device.queue.writeBuffer(load.parameters, 0, parameters);
    staging.submit([encoder.finish()]);
  }

  private dispatch(
    encoder: GPUCommandEncoder,
    load: Load,
    piece: Piece,
    pipeline: GPUComputePipeline,
    offset: number,
  ): void {
    const { device, limits } = this.gpu;
    const own = { buffer: load.tensors[piece.index]!.buffer, ...keptRange(piece) };
    const read = isConverted(piece.tensor) ? { buffer: load.scratch! } : own;
    const resources = [
      { buffer: load.parameters, size: 4 * parameterWords },
      { buffer: load.faults },
      read,
      ...(isConverted(piece.tensor) ? [own] : []),
    ];
    const group = device.createBindGroup({
      layout: this.conversions.layoutOf(conversionOf(piece.tensor)),
      entries: resources.map((resource, binding) => ({ binding, resource })),
    });
    const groups = Math.ceil(piece.count / elementsOfGroup);
    const columns = Math.min(groups, limits.maxComputeWorkgroupsPerDimension);
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group, [offset]);
    pass.dispatchWorkgroups(columns, Math.ceil(groups / columns));
    pass.end();
  }

  private async throwFault({ faults, tensors, doing }: Load): Promise<void> {
    const size = bufferBytes(4 * tensors.length);
    const staging = this.buffer("load faults read-back", size, usage.mapRead | usage.copyDst);
    try {
      const encoder = this.gpu.device.createCommandEncoder();
      encoder.copyBufferToBuffer(faults, 0, staging, 0, size);
      this.gpu.device.queue.submit([encoder.finish()]);
      await this.gpu.settle(staging.mapAsync(mapModeRead), doing);
      const found = new Uint32Array(staging.getMappedRange());
      const faulty = tensors.findIndex((_, i) => found[i] !== noFault);
      if (faulty >= 0) throw await tensors[faulty]!.tensor.notFinite!(found[faulty]!).catch(asUnread);
    } finally {
      staging.destroy();
    }
  }
}

/**
 * Data that could not be read. Until the error leaves the loader, it must not look like one of the device: a request
 * that its caller aborted has the name of a mapping whose device is gone.
 */
class Unread {
  readonly reason: unknown;
  constructor(reason: unknown) {
    this.reason = reason;
  }
}

function asUnread(reason: unknown): never {
  throw new Unread(reason);
}

function asRead(error: unknown): never {
  throw error instanceof Unread ? error.reason : error;
}

const bindable = ({ limits }: GpuDevice): number =>
  Math.min(limits.maxBufferSize, limits.maxStorageBufferBindingSize - (limits.maxStorageBufferBindingSize % 16));

function doingOf(tensors: readonly Loaded[]): string {
  const others = tensors.length - 1;
  return `loading "${tensors[0]!.name}"${others > 0 ? ` and ${others} more` : ""}`;
}

const conversionOf = ({ stored, dtype }: StoredTensor) => ({ from: stored, to: dtype });
const isConverted = ({ stored, dtype }: StoredTensor): boolean => stored !== dtype;
const isDispatched = (t: StoredTensor): boolean => isConverted(t) || t.notFinite !== undefined;

/** Converts on the host instead: on a software adapter, the kernel is slower than a JavaScript loop. */
function convertedByHost(tensor: StoredTensor): StoredTensor {
  const { axes, dtype, place, fillConverted } = tensor;
  if (!fillConverted || !isDispatched(tensor)) return tensor;
  const fill: StoredTensor["fill"] = (at, into) => fillConverted(at / storedBytes[dtype], into);
  return { axes, dtype, stored: dtype, place, fill };
}

/** Rounds bytes up to whole words. */
const words = (bytes: number): number => Math.ceil(bytes / 4) * 4;

/** The range of a piece in the tensor's buffer. */
const keptRange = ({ tensor, first, count }: Piece) => ({
  offset: first * storedBytes[tensor.dtype],
  size: words(count * storedBytes[tensor.dtype]),
});

/** Reads a piece directly into mapped memory; pads the last word with zeros. */
function fillPiece(piece: Piece, memory: ArrayBuffer): Promise<void>[] {
  const { tensor, first, at } = piece;
  const bytes = pieceBytes(piece);
  const begin = first * storedBytes[tensor.stored];
  new Uint8Array(memory, at + bytes, words(bytes) - bytes).fill(0);
  const reads = Math.ceil(bytes / readBytes);
  return Array.from({ length: reads }, (_, i) => {
    const done = i * readBytes;
    return tensor.fill(begin + done, new Uint8Array(memory, at + done, Math.min(readBytes, bytes - done)));
  });
}

function copyPiece(encoder: GPUCommandEncoder, load: Load, piece: Piece, staging: GPUBuffer): void {
  const bytes = words(pieceBytes(piece));
  if (isConverted(piece.tensor)) encoder.copyBufferToBuffer(staging, piece.at, load.scratch!, piece.at, bytes);
  else encoder.copyBufferToBuffer(staging, piece.at, load.tensors[piece.index]!.buffer, keptRange(piece).offset, bytes);
}

/** Bytes of a tensor in its kept dtype. */
export const keptBytes = ({ axes, dtype }: StoredTensor): number => elementCount(axes) * storedBytes[dtype];
