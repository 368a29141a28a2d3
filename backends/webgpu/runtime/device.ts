/** An open WebGPU device: its identity, its capabilities, and its failures as typed errors. */
import { HeddleError, InternalError, type kernelIr, spanned, UnsupportedError } from "../../../compiler/index.ts";
import { DeviceMemory } from "./device-memory.ts";
import { halfFault } from "./half-check.ts";

/** The graphics API below WebGPU; `browser` where the browser hides it, `null` where nothing is executed. */
export type GraphicsBackend = "vulkan" | "metal" | "d3d12" | "browser" | "null";

/** What an adapter reports about itself. */
export type AdapterInfo = {
  readonly vendor: string;
  readonly architecture: string;
  readonly device: string;
  /** The driver's own description; shown to users. */
  readonly description: string;
  readonly backend: GraphicsBackend;
  /** WebGPU's fallback flag: an adapter that computes on the CPU or is otherwise a last resort. */
  readonly isFallback: boolean;
  /** Kernels run on CPU threads: slow, and a JavaScript thread that spins takes a core from them. */
  readonly software: boolean;
  /** Lanes per subgroup; both 0 where the adapter has no subgroups or does not report them. */
  readonly subgroupSize: { readonly min: number; readonly max: number };
  /** Supported `subgroup_matrix` shapes; empty where there are none or the adapter does not list them. */
  readonly subgroupMatrices: readonly kernelIr.MatrixShape[];
};

/** A supported shape as Dawn reports it: an interface object whose fields must be read one by one. */
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

/** A device with a lifetime; all users go through `settle` or `check` so that no failure goes unnoticed. */
export type GpuDevice = {
  readonly adapter: AdapterInfo;
  readonly limits: GpuLimits;
  readonly features: ReadonlySet<string>;
  /** Features that the adapter has but that are not used, each with the reason, as a phrase. */
  readonly distrusted: ReadonlyMap<string, string>;
  readonly device: GPUDevice;
  /** Allocates its buffers. */
  readonly memory: DeviceMemory;
  /**
   * False without bounds checks by the device: kernels are then proven in bounds, or clamp their indices (emitWgsl).
   */
  readonly robust: boolean;
  /** Why this adapter was chosen, as a phrase that fits after "because". */
  readonly reason: string;
  /**
   * Waits for a promise of this device without starving a software adapter's threads, then throws what `check` throws.
   * A rejection of the promise itself is rethrown unless the device failed, which is then the better explanation.
   * `doing` names the operation, as a phrase that fits after "while"; DeviceLostError includes it.
   */
  settle<T>(pending: Promise<T>, doing?: string): Promise<T>;
  /** Waits until the driver confirms large allocations; throws OutOfMemoryError if one failed. */
  allocated(buffers: readonly GPUBuffer[], doing?: string): Promise<void>;
  /** Throws the first failure since the device was opened: DeviceLostError, OutOfMemoryError or InternalError. */
  check(doing?: string): void;
  /**
   * Destroys the device with all its buffers, once no file is being read into one; for an adopted device
   * (`adoptDevice`), only the buffers allocated here. Idempotent.
   */
  dispose(): void;
};

/** The device was lost: a driver reset, an unplugged or reset GPU, a crashed software driver. */
export class DeviceLostError extends HeddleError {
  override name = "DeviceLostError";
  /** The operation in progress, as a phrase; undefined if none. */
  readonly doing: string | undefined;

  constructor(adapter: string, reason: string, doing?: string) {
    super(
      `the device on "${adapter}" was lost${doing ? ` while ${doing}` : ""}: ${reason}\n` +
        "  hint: start again; a training run continues from its newest checkpoint (on the command line with --resume)",
    );
    this.doing = doing;
  }
}

/** How a device is opened and awaited; shared by Node, the browser and the null device. */
export type DeviceSource = {
  readonly backend: GraphicsBackend;
  readonly reason: string;
  /** Whether the adapter's instance enforces bounds on memory accesses. Default true. */
  readonly robust?: boolean;
  /** Awaits a promise of the device; see wait.ts. */
  readonly wait: <T>(pending: Promise<T>) => Promise<T>;
};

/** Requested wherever the adapter has them; code checks `GpuDevice.features` before relying on one. */
const wantedFeatures = [
  "shader-f16",
  "subgroups",
  "subgroup-size-control",
  "timestamp-query",
  "chromium-experimental-subgroup-matrix",
] as const;

const softwareDrivers = /swiftshader|llvmpipe|lavapipe|microsoft basic render|\bwarp\b/i;

/** Copies an adapter's info into plain data. */
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
    // Browsers reveal vendor and architecture at most.
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
 * Opens a device with the adapter's maximum for every limit (the defaults are far lower) and the features we can use.
 * Throws UnsupportedError if the adapter refuses.
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
 * Wraps a device that the caller opened; kernels use only the features and limits it was requested with.
 * The caller keeps ownership: `dispose` frees the buffers allocated here and leaves the device open.
 */
export function adoptDevice(device: GPUDevice, source: DeviceSource): Promise<GpuDevice> {
  return watched(device, plainInfo(device.adapterInfo, source.backend), source, (memory) => memory.destroyAll());
}

/** Wraps a device and watches its failures; `end` runs when it is disposed of. */
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

/** Features that a driver has but gets wrong. The null device computes nothing, so nothing is checked on it. */
async function distrustedFeatures(device: GPUDevice, { backend, wait }: DeviceSource): Promise<Map<string, string>> {
  const fault = backend !== "null" && device.features.has("shader-f16") ? await halfFault(device, wait) : undefined;
  return new Map(fault === undefined ? [] : [["shader-f16", `the driver failed the f16 check: ${fault}`]]);
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
    // The promises of a lost device may reject before `device.lost` resolves.
    await new Promise((resolve) => setTimeout(resolve, 0));
    failures.check(doing);
    const closed = failures.closed(doing);
    if (closed) throw closed;
    if (!isAbort(cause)) throw cause;
    await Promise.race([failures.lost, new Promise((resolve) => setTimeout(resolve, newsMs))]);
    failures.check(doing);
    throw new DeviceLostError(adapter, "the driver cancelled the operation without giving a reason", doing);
  }
}

/** Milliseconds to wait for `device.lost` after a driver aborted an operation. */
const newsMs = 500;

/** WebGPU's rejection of a mapping whose device or buffer is gone; its message is empty. */
const isAbort = (cause: unknown): boolean => (cause as { readonly name?: unknown } | undefined)?.name === "AbortError";

interface Failures {
  check(doing?: string): void;
  /** Marks the device loss that follows as intended. */
  close(): void;
  /** The error for a promise that is rejected because the device was closed. */
  closed(doing?: string): Error | undefined;
  /** Resolves when the device is lost and `check` throws for it. */
  readonly lost: Promise<void>;
}

/** Records the first failure of a device, however it is reported. */
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
    lost = message || (reason === "destroyed" ? "it was destroyed" : "the driver gave no reason");
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
    closed: (doing) => (open ? undefined : new DeviceLostError(info.description, "it was disposed", doing)),
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
