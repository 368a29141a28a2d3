/** An open WebGPU device: what it is, what it can do, and its failures as one clear error. */
import { HeddleError, InternalError, type kernelIr, spanned, UnsupportedError } from "../../../compiler/index.ts";
import { DeviceMemory } from "./device-memory.ts";
import { halfFault } from "./half-check.ts";

/** The graphics interface below WebGPU; `browser` where the browser hides it, `null` where nothing is executed. */
export type GraphicsBackend = "vulkan" | "metal" | "d3d12" | "browser" | "null";

/** What an adapter says of itself. */
export type AdapterInfo = {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** The driver's own words; what a person is shown. */
  readonly description: string;
  readonly backend: GraphicsBackend;
  /** WebGPU's own word for an adapter that computes on the CPU or is otherwise a last resort. */
  readonly isFallback: boolean;
  /** Kernels run on CPU threads: slow, and every thread that spins in JavaScript is taken from them. */
  readonly software: boolean;
  /** Lanes of a subgroup; both 0 where the adapter has no subgroups or does not say. */
  readonly subgroupSize: { readonly min: number; readonly max: number };
  /** Shapes that `subgroup_matrix` types may take; empty where there are none or the adapter does not list them. */
  readonly subgroupMatrices: readonly kernelIr.MatrixShape[];
};

/** A supported shape as Dawn tells it: an interface, whose fields have to be read one by one. */
type DawnMatrixConfig = {
  readonly componentType: kernelIr.ComponentType;
  readonly resultComponentType: kernelIr.ComponentType;
  readonly M: number;
  readonly N: number;
  readonly K: number;
};

export type LimitName = Exclude<keyof GPUSupportedLimits, "__brand">;

/** Every limit of the open device, in WebGPU's names and units (bytes or counts). */
export type GpuLimits = { readonly [name in LimitName]: number };

/** A device with a lifetime; every user of it goes through `settle` or `check` so that no failure passes unseen. */
export type GpuDevice = {
  readonly adapter: AdapterInfo;
  readonly limits: GpuLimits;
  readonly features: ReadonlySet<string>;
  /** Features that the adapter has and that are not used, each with why, as a phrase. */
  readonly distrusted: ReadonlyMap<string, string>;
  readonly device: GPUDevice;
  /** Makes its buffers. */
  readonly memory: DeviceMemory;
  /** False where an access beyond its memory is not stopped: kernels are then proven, or clamp themselves (emitWgsl). */
  readonly robust: boolean;
  /** Why this adapter and no other, as a phrase that fits after "because". */
  readonly reason: string;
  /**
   * Waits for a promise of this device without starving a software adapter's threads, then throws what `check` throws.
   * A rejection of the promise itself passes through unless the device failed, which then is the better explanation.
   * `doing` says what is waited for, as a phrase that fits after "while": a lost device is told with it.
   */
  settle<T>(pending: Promise<T>, doing?: string): Promise<T>;
  /** Waits for the driver's answers about large buffers; throws OutOfMemoryError where it has not the memory for one. */
  allocated(buffers: readonly GPUBuffer[], doing?: string): Promise<void>;
  /** Throws the first failure since the device was opened: DeviceLostError, OutOfMemoryError or InternalError. */
  check(doing?: string): void;
  /**
   * Destroys the device with all its buffers, as soon as no file is read into one; of a device that was given
   * (`adoptDevice`) only the buffers that were made here. Harmless the second time.
   */
  dispose(): void;
};

/** The device went away under us: a driver reset, an unplugged or reset GPU, a crashed software driver. */
export class DeviceLostError extends HeddleError {
  override name = "DeviceLostError";
  /** What was waited for, as a phrase; undefined where nothing was. */
  readonly doing: string | undefined;

  constructor(adapter: string, reason: string, doing?: string) {
    super(
      `the device on "${adapter}" was lost${doing ? ` while ${doing}` : ""}: ${reason}\n` +
        "  hint: start again; a training run continues from its newest checkpoint (on the command line with --resume)",
    );
    this.doing = doing;
  }
}

/** How a device is opened and waited for; the same for Node, the browser and the null device. */
export type DeviceSource = {
  readonly backend: GraphicsBackend;
  readonly reason: string;
  /** Whether the instance that the adapter comes from stops accesses beyond their memory. Default true. */
  readonly robust?: boolean;
  /** Waits for a promise of the device; see wait.ts. */
  readonly wait: <T>(pending: Promise<T>) => Promise<T>;
};

/** Taken wherever the adapter has them; code asks `GpuDevice.features` before it relies on one. */
const wantedFeatures = [
  "shader-f16",
  "subgroups",
  "subgroup-size-control",
  "timestamp-query",
  "chromium-experimental-subgroup-matrix",
] as const;

const softwareDrivers = /swiftshader|llvmpipe|lavapipe|microsoft basic render|\bwarp\b/i;

/** Reads what an adapter says of itself into plain data. */
export const adapterInfo = (adapter: GPUAdapter, backend: GraphicsBackend): AdapterInfo =>
  plainInfo(adapter.info, backend);

function plainInfo(said: GPUAdapterInfo, backend: GraphicsBackend): AdapterInfo {
  const info = said as GPUAdapterInfo & { readonly subgroupMatrixConfigs?: Iterable<DawnMatrixConfig> };
  const words = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`;
  const isFallback = info.isFallbackAdapter ?? false;
  return {
    vendor: info.vendor,
    architecture: info.architecture,
    device: info.device,
    // A browser tells vendor and architecture at most.
    description: info.description || info.device || `${info.vendor} ${info.architecture}`.trim() || backend,
    backend,
    isFallback,
    software: isFallback || softwareDrivers.test(words),
    subgroupSize: { min: info.subgroupMinSize ?? 0, max: info.subgroupMaxSize ?? 0 },
    subgroupMatrices: [...(info.subgroupMatrixConfigs ?? [])].map((c) => ({
      operands: c.componentType,
      result: c.resultComponentType,
      m: c.M,
      n: c.N,
      k: c.K,
    })),
  };
}

/**
 * Opens a device with the adapter's own value of every limit (the defaults are far lower) and the features we know to use.
 * Throws UnsupportedError when the adapter refuses.
 */
export async function openDevice(adapter: GPUAdapter, source: DeviceSource): Promise<GpuDevice> {
  const info = adapterInfo(adapter, source.backend);
  const requiredFeatures = wantedFeatures.filter((name) => adapter.features.has(name)) as GPUFeatureName[];
  const request = adapter.requestDevice({
    label: "heddle",
    requiredFeatures,
    requiredLimits: readLimits(adapter.limits),
  });
  const device = await source.wait(request).catch((cause: unknown) => {
    throw new UnsupportedError(`adapter "${info.description}" refused a device: ${messageOf(cause)}`, { cause });
  });
  return await watched(device, info, source, () => device.destroy());
}

/**
 * Takes a device that a caller opened, with the features and limits that it was requested with: kernels use no others.
 * It stays the caller's: `dispose` frees what was made on it here and leaves the device open.
 */
export function adoptDevice(device: GPUDevice, source: DeviceSource): Promise<GpuDevice> {
  return watched(device, plainInfo(device.adapterInfo, source.backend), source, (memory) => memory.destroyAll());
}

/** A device with its failures watched; `end` is what remains to do when it is disposed of. */
async function watched(
  device: GPUDevice,
  info: AdapterInfo,
  source: DeviceSource,
  end: (memory: DeviceMemory) => void,
): Promise<GpuDevice> {
  const limits = readLimits(device.limits);
  const memory = new DeviceMemory(device, info.description, limits);
  const failures = watchFailures(device, info, memory);
  const settleFor: GpuDevice["settle"] = (pending, doing) =>
    spanned("waits", doing ?? "the device", () => settle(pending, source.wait, failures, info.description, doing));
  const distrusted = await distrustedFeatures(device, source);
  return {
    adapter: info,
    limits,
    memory,
    features: new Set([...device.features].filter((name) => !distrusted.has(name))),
    distrusted,
    device,
    robust: source.robust ?? true,
    reason: source.reason,
    settle: settleFor,
    allocated: (buffers, doing) => memory.answered(buffers, (pending) => settleFor(pending, doing)),
    check: failures.check,
    dispose: () => {
      failures.close();
      memory.whenUnused(() => end(memory));
    },
  };
}

/** What a driver has and gets wrong. The null device computes nothing, and so nothing wrong. */
async function distrustedFeatures(device: GPUDevice, { backend, wait }: DeviceSource): Promise<Map<string, string>> {
  const fault = backend !== "null" && device.features.has("shader-f16") ? await halfFault(device, wait) : undefined;
  return new Map(fault === undefined ? [] : [["shader-f16", `the driver fails the check of its f16: ${fault}`]]);
}

/** Copies the limits into a plain record; the names live on the prototype, hence for-in. */
function readLimits(limits: GPUSupportedLimits): GpuLimits {
  const out: Partial<Record<LimitName, number>> = {};
  for (const name in limits) {
    const value = limits[name as LimitName];
    if (typeof value === "number") out[name as LimitName] = value;
  }
  return out as GpuLimits;
}

async function settle<T>(
  pending: Promise<T>,
  wait: DeviceSource["wait"],
  failures: Failures,
  adapter: string,
  doing: string | undefined,
): Promise<T> {
  try {
    const value = await wait(pending);
    failures.check(doing);
    return value;
  } catch (cause) {
    // The rejection of a lost device's promises may arrive before the news of the loss.
    await new Promise((resolve) => setTimeout(resolve, 0));
    failures.check(doing);
    const closed = failures.closed(doing);
    if (closed) throw closed;
    if (!isAbort(cause)) throw cause;
    await Promise.race([failures.lost, new Promise((resolve) => setTimeout(resolve, newsMs))]);
    failures.check(doing);
    throw new DeviceLostError(adapter, "the driver gave up what was waited for, and gives no reason", doing);
  }
}

/** Milliseconds within which a driver that gave up a wait says that the device is lost, if it ever does. */
const newsMs = 500;

/** What WebGPU rejects a mapping with whose device or buffer is gone; its message is empty. */
const isAbort = (cause: unknown): boolean => (cause as { readonly name?: unknown } | undefined)?.name === "AbortError";

interface Failures {
  check(doing?: string): void;
  /** Says that the loss that follows is wanted. */
  close(): void;
  /** What to throw for a promise that is rejected because the device was closed. */
  closed(doing?: string): Error | undefined;
  /** Resolves when the device was lost and `check` says so. */
  readonly lost: Promise<void>;
}

/** Keeps the first failure of a device, whichever way it is told. */
function watchFailures(device: GPUDevice, info: AdapterInfo, memory: DeviceMemory): Failures {
  let first: Error | undefined;
  let lost: string | undefined;
  let open = true;
  const note = (event: GPUUncapturedErrorEvent) => {
    first ??= errorOf(event.error, info, memory);
  };
  device.addEventListener("uncapturederror", note);
  const told = device.lost.then(({ reason, message }) => {
    if (reason === "destroyed" && !open) return;
    lost = message || (reason === "destroyed" ? "it was destroyed" : "the driver gives no reason");
    first ??= new DeviceLostError(info.description, lost);
  });
  return {
    check(doing) {
      if (first instanceof DeviceLostError && doing !== undefined)
        throw new DeviceLostError(info.description, lost!, doing);
      if (first) throw first;
    },
    close() {
      open = false;
      device.removeEventListener("uncapturederror", note);
    },
    closed: (doing) => (open ? undefined : new DeviceLostError(info.description, "it was disposed of", doing)),
    lost: told,
  };
}

function errorOf(error: GPUError, info: AdapterInfo, memory: DeviceMemory): Error {
  // By name: the error classes are globals in a browser and belong to the instance in Node.
  if (error.constructor.name === "GPUOutOfMemoryError") return memory.error(undefined, error.message);
  return new InternalError(`WebGPU on "${info.description}" refused a command: ${error.message}`);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
