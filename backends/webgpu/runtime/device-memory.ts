/** Allocates every buffer of a device, accounts for it by kind, and reports out-of-memory with the failed request. */
import { HeddleError, UnsupportedError } from "../../../compiler/index.ts";

/** Purposes by which memory is accounted. */
export type MemoryKind =
  | "weights and states"
  | "activations"
  | "inputs"
  | "constants"
  | "staging"
  | "read-backs"
  | "measurements";

/** Size limits in bytes, in WebGPU's names. */
type MemoryLimits = Pick<GPUSupportedLimits, "maxBufferSize" | "maxStorageBufferBindingSize">;

/** An allocation request. */
export interface Allocation {
  /** The content, for errors: a tensor, a slot. */
  readonly what: string;
  readonly kind: MemoryKind;
  readonly bytes: number;
  readonly usage: GPUBufferUsageFlags;
  readonly mappedAtCreation?: boolean;
}

/** Hints for out-of-memory errors, by kind. */
const hints: Readonly<Record<MemoryKind, string>> = {
  "weights and states":
    "weights in f16 (--dtype f16) take half, and offloading (--offload) streams them through the device; a smaller model needs less",
  activations:
    "a smaller batch needs less; weights in f16 (--dtype f16) and offloading (--offload) leave more memory free besides the weights",
  inputs: "a smaller batch needs less",
  constants: "a smaller model needs less; offloading (--offload) leaves more memory free besides the weights",
  staging: "offloading (--offload) leaves more memory free besides the weights; other programs may hold the memory",
  "read-backs": "ask for fewer outputs, or for a smaller batch",
  measurements: "close other programs that hold the memory, and measure again",
};

/** A device allocation failed. */
export class OutOfMemoryError extends HeddleError {
  override name = "OutOfMemoryError";
  /** The requested content; undefined where no request of ours failed. */
  readonly what: string | undefined;
  readonly bytes: number | undefined;
  /** Bytes held by buffers, by kind. */
  readonly held: ReadonlyMap<MemoryKind, number>;

  constructor(message: string, held: ReadonlyMap<MemoryKind, number>, asked?: Allocation) {
    super(message);
    this.what = asked?.what;
    this.bytes = asked?.bytes;
    this.held = held;
  }
}

const units = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const;

const amount = (bytes: number): string => {
  const power = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(bytes, 1)) / 10));
  return power === 0 ? `${bytes} bytes` : `${(bytes / 1024 ** power).toFixed(1)} ${units[power]}`;
};

/** Buffer and copy sizes must be multiples of 4 bytes, bindings of up to 16. */
const granule = 16;

export const bufferBytes = (bytes: number): number => Math.max(granule, Math.ceil(bytes / granule) * granule);

/** Minimum bytes for a buffer to be worth waiting for the driver's confirmation. */
const largeBytes = 2 ** 24;

export class DeviceMemory {
  private readonly device: GPUDevice;
  /** The adapter's name in errors. */
  private readonly adapter: string;
  private readonly limits: MemoryLimits;
  private readonly held = new Map<MemoryKind, number>();
  private readonly buffers = new Set<GPUBuffer>();
  /** The driver's answers for large buffers: an error if the allocation failed. */
  private readonly answers = new WeakMap<GPUBuffer, Promise<OutOfMemoryError | undefined>>();

  private users = 0;
  private readonly waiting: (() => void)[] = [];
  /** Whether the device is being disposed of: no new work may begin. */
  closing = false;

  constructor(device: GPUDevice, adapter: string, limits: MemoryLimits) {
    this.device = device;
    this.adapter = adapter;
    this.limits = limits;
  }

  /** Bytes of live buffers, by kind. */
  heldBytes(): ReadonlyMap<MemoryKind, number> {
    return new Map([...this.held].filter(([, bytes]) => bytes > 0));
  }

  /**
   * A buffer, accounted for until it is destroyed. Throws UnsupportedError above the adapter's limit, without asking
   * the driver. A large allocation is confirmed only once `answered` has returned.
   */
  allocate(asked: Allocation): GPUBuffer {
    const { what, bytes, usage, mappedAtCreation = false } = asked;
    const size = bufferBytes(bytes);
    if (size > this.limits.maxBufferSize) {
      throw new UnsupportedError(
        `"${what}" takes ${size} bytes, more than the ${this.limits.maxBufferSize} of one buffer on "${this.adapter}"`,
      );
    }
    const large = size >= largeBytes && asked.kind !== "measurements"; // those have their own error scopes
    if (large) this.device.pushErrorScope("out-of-memory");
    let buffer: GPUBuffer;
    let answer: Promise<GPUError | null> | undefined;
    try {
      buffer = this.device.createBuffer({ label: `${asked.kind}: ${what}`, size, usage, mappedAtCreation });
    } catch (cause) {
      // createBuffer throws RangeError if it cannot map at creation (WebGPU, section 5.1.3).
      if (cause instanceof RangeError) throw this.error(asked, cause.message);
      throw cause;
    } finally {
      if (large) answer = this.device.popErrorScope();
    }
    if (answer) this.answers.set(buffer, this.explained(asked, answer));
    return this.counted(buffer, asked.kind, size);
  }

  /** Waits until the driver has confirmed the buffers; throws OutOfMemoryError if an allocation failed. */
  async answered(buffers: readonly GPUBuffer[], wait: <T>(pending: Promise<T>) => Promise<T>): Promise<void> {
    const answers = buffers.flatMap((b) => this.answers.get(b) ?? []);
    if (answers.length === 0) return;
    const refusal = (await wait(Promise.all(answers))).find((error) => error !== undefined);
    if (refusal) throw refusal;
    for (const b of buffers) this.answers.delete(b);
  }

  /** Runs `body`, during which mapped memory may be written to and so must not be freed. */
  async inUse<T>(body: () => Promise<T>): Promise<T> {
    this.users++;
    try {
      return await body();
    } finally {
      if (--this.users === 0) for (const then of this.waiting.splice(0)) then();
    }
  }

  /** Calls back when no mapped memory is in use, immediately if none is. */
  whenUnused(then: () => void): void {
    this.closing = true;
    if (this.users === 0) then();
    else this.waiting.push(then);
  }

  /** Destroys every live buffer: for an adopted device. */
  destroyAll(): void {
    for (const buffer of [...this.buffers]) buffer.destroy();
  }

  /** The error for a failed allocation. */
  error(asked: Allocation | undefined, reason: string): OutOfMemoryError {
    const held = this.heldBytes();
    const list = [...held].map(([kind, bytes]) => `${kind} ${amount(bytes)}`).join(", ");
    const wanted = asked && `: ${asked.kind}, "${asked.what}", ask for ${amount(bufferBytes(asked.bytes))}`;
    const lines = [
      `"${this.adapter}" is out of memory${wanted ?? ""}`,
      `  held: ${list || "nothing"}`,
      `  limits: ${amount(this.limits.maxBufferSize)} in a buffer, ${amount(this.limits.maxStorageBufferBindingSize)} in a binding`,
      `  the driver says: ${reason.split("\n")[0]}`,
      `  hint: ${asked ? hints[asked.kind] : "a smaller batch or a smaller model needs less"}`,
    ];
    return new OutOfMemoryError(lines.join("\n"), held, asked);
  }

  private explained(asked: Allocation, answer: Promise<GPUError | null>): Promise<OutOfMemoryError | undefined> {
    return answer.then(
      (error) => (error ? this.error(asked, error.message) : undefined),
      () => undefined, // the device was lost, which is reported elsewhere
    );
  }

  private counted(buffer: GPUBuffer, kind: MemoryKind, bytes: number): GPUBuffer {
    const add = (n: number) => this.held.set(kind, (this.held.get(kind) ?? 0) + n);
    add(bytes);
    const destroy = buffer.destroy.bind(buffer);
    this.buffers.add(buffer);
    // The owner destroys a buffer; hooking `destroy` updates the accounting without a second call that could be
    // forgotten.
    buffer.destroy = () => {
      if (this.buffers.delete(buffer)) add(-bytes);
      destroy();
    };
    return buffer;
  }
}
