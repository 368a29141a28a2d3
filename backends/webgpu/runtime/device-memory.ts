/** Every buffer of a device is made here: by whom it is held is counted, and memory that runs out is told by what asked for it. */
import { HeddleError, UnsupportedError } from "../../../compiler/index.ts";

/** What memory is held for. */
export type MemoryKind =
  | "weights and states"
  | "activations"
  | "inputs"
  | "constants"
  | "staging"
  | "read-backs"
  | "measurements";

/** Bytes of what a device makes at most, in WebGPU's names. */
type MemoryLimits = Pick<GPUSupportedLimits, "maxBufferSize" | "maxStorageBufferBindingSize">;

/** A buffer that is asked for. */
export interface Allocation {
  /** What it is to hold: the tensor, the slot. */
  readonly what: string;
  readonly kind: MemoryKind;
  readonly bytes: number;
  readonly usage: GPUBufferUsageFlags;
  readonly mappedAtCreation?: boolean;
}

/** What helps, by what was asked for. */
const hints: Readonly<Record<MemoryKind, string>> = {
  "weights and states":
    "--dtype f16 halves the weights, --offload streams them through the device; a smaller model needs less",
  activations: "a smaller batch needs less; --dtype f16 and --offload leave more room beside the weights",
  inputs: "a smaller batch needs less",
  constants: "a smaller model needs less; --offload leaves more room beside the weights",
  staging: "--offload leaves more room beside the weights; other programs may hold the memory",
  "read-backs": "ask for fewer outputs, or for a smaller batch",
  measurements: "close other programs that hold the memory, and measure again",
};

/** The device has not the memory that was asked for. */
export class OutOfMemoryError extends HeddleError {
  override name = "OutOfMemoryError";
  /** What it was for; undefined where the driver ran out by itself. */
  readonly what: string | undefined;
  readonly bytes: number | undefined;
  /** Bytes that buffers held, by what they are for. */
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

/** Buffer and copy sizes are multiples of 4 bytes, bindings of up to 16. */
const granule = 16;

export const bufferBytes = (bytes: number): number => Math.max(granule, Math.ceil(bytes / granule) * granule);

/** Bytes from which on a buffer is worth waiting for the driver's answer. */
const largeBytes = 2 ** 24;

export class DeviceMemory {
  private readonly device: GPUDevice;
  /** The adapter, as errors name it. */
  private readonly adapter: string;
  private readonly limits: MemoryLimits;
  private readonly held = new Map<MemoryKind, number>();
  private readonly buffers = new Set<GPUBuffer>();
  /** What the driver says of large buffers: an error where it has not the memory. */
  private readonly answers = new WeakMap<GPUBuffer, Promise<OutOfMemoryError | undefined>>();

  private users = 0;
  private readonly waiting: (() => void)[] = [];
  /** Whether the device is about to go: nothing new is to be begun. */
  closing = false;

  constructor(device: GPUDevice, adapter: string, limits: MemoryLimits) {
    this.device = device;
    this.adapter = adapter;
    this.limits = limits;
  }

  /** Bytes of the buffers that are there, by what they are for. */
  heldBytes(): ReadonlyMap<MemoryKind, number> {
    return new Map([...this.held].filter(([, bytes]) => bytes > 0));
  }

  /**
   * A buffer, counted until it is destroyed. Throws UnsupportedError above the adapter's limit, without asking. Whether
   * there is memory for a large one is known when `answered` has returned.
   */
  allocate(asked: Allocation): GPUBuffer {
    const { what, bytes, usage, mappedAtCreation = false } = asked;
    const size = bufferBytes(bytes);
    if (size > this.limits.maxBufferSize) {
      throw new UnsupportedError(
        `"${what}" takes ${size} bytes, more than the ${this.limits.maxBufferSize} of one buffer on "${this.adapter}"`,
      );
    }
    const large = size >= largeBytes && asked.kind !== "measurements"; // those have error scopes of their own
    if (large) this.device.pushErrorScope("out-of-memory");
    let buffer: GPUBuffer;
    let answer: Promise<GPUError | null> | undefined;
    try {
      buffer = this.device.createBuffer({ label: `${asked.kind}: ${what}`, size, usage, mappedAtCreation });
    } catch (cause) {
      // A buffer that cannot be mapped at its creation is a RangeError (WebGPU, section 5.1.3).
      if (cause instanceof RangeError) throw this.error(asked, cause.message);
      throw cause;
    } finally {
      if (large) answer = this.device.popErrorScope();
    }
    if (answer) this.answers.set(buffer, this.explained(asked, answer));
    return this.counted(buffer, asked.kind, size);
  }

  /** Waits until the driver has said of the buffers whether it has the memory; throws OutOfMemoryError if it has not. */
  async answered(buffers: readonly GPUBuffer[], wait: <T>(pending: Promise<T>) => Promise<T>): Promise<void> {
    const answers = buffers.flatMap((b) => this.answers.get(b) ?? []);
    if (answers.length === 0) return;
    const refusal = (await wait(Promise.all(answers))).find((error) => error !== undefined);
    if (refusal) throw refusal;
    for (const b of buffers) this.answers.delete(b);
  }

  /** Runs what lets the system write to mapped memory, which must stay until it has ended. */
  async inUse<T>(body: () => Promise<T>): Promise<T> {
    this.users++;
    try {
      return await body();
    } finally {
      if (--this.users === 0) for (const then of this.waiting.splice(0)) then();
    }
  }

  /** Calls back when no mapped memory is in use: at once where none is. */
  whenUnused(then: () => void): void {
    this.closing = true;
    if (this.users === 0) then();
    else this.waiting.push(then);
  }

  /** Destroys every buffer that is there: for a device that outlives its use here. */
  destroyAll(): void {
    for (const buffer of [...this.buffers]) buffer.destroy();
  }

  /** What to throw where memory ran out. */
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
      () => undefined, // of a lost device, which says so itself
    );
  }

  private counted(buffer: GPUBuffer, kind: MemoryKind, bytes: number): GPUBuffer {
    const add = (n: number) => this.held.set(kind, (this.held.get(kind) ?? 0) + n);
    add(bytes);
    const destroy = buffer.destroy.bind(buffer);
    this.buffers.add(buffer);
    // Whoever owns a buffer destroys it; the count follows without another call that could be forgotten.
    buffer.destroy = () => {
      if (this.buffers.delete(buffer)) add(-bytes);
      destroy();
    };
    return buffer;
  }
}
