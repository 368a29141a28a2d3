/** Finds WebGPU adapters from Node and opens a device on one of them. */
import { FileError, UnsupportedError, UsageError } from "../../../compiler/index.ts";
import { type AdapterInfo, adapterInfo, type GpuDevice, openDevice } from "./device.ts";
import { createInstance, systemBackend } from "./node-instance.ts";
import { quietly } from "./node-quiet.ts";
import { swiftShaderMissing, unpackSwiftShader } from "./node-swiftshader.ts";
import { installedDrivers, loadGlobally, loadSystemLoader, threadHint, withDrivers } from "./node-vulkan.ts";
import { waitAsleep, waitPlainly } from "./wait.ts";

/**
 * Where an adapter comes from: the system's default, the npm package's SwiftShader (Linux x64), or the system's
 * installed lavapipe.
 */
export type AdapterSource = "system" | "swiftshader" | "lavapipe";

const adapterSources: readonly AdapterSource[] = ["system", "swiftshader", "lavapipe"];

export type DeviceRequest = {
  /** `hardware` takes a GPU if there is one, else a software adapter; `software` never looks for a GPU. */
  readonly prefer: "hardware" | "software";
  /** Takes the adapter only from this source; the environment variable HEDDLE_ADAPTER does the same. */
  readonly source?: AdapterSource;
  /** Takes the hardware adapter whose name contains this text, whatever HEDDLE_ADAPTER says. */
  readonly named?: string;
  /**
   * True keeps WebGPU's bounds checks on every access, for kernels that heddle did not generate. Default false:
   * software adapters then run kernels that are proven in bounds, or that clamp their own indices (decision 21).
   */
  readonly robust?: boolean;
};

/** An adapter that `listAdapters` found. */
export type ListedAdapter = AdapterInfo & { readonly source: AdapterSource };

/** An adapter, or why there is none. */
type Attempt =
  | { readonly adapter: GPUAdapter; readonly source: AdapterSource; readonly robust: boolean }
  | { readonly missing: string };

const backend = systemBackend();

/**
 * Lists the available adapters, hardware first, without duplicates; with HEDDLE_ADAPTER set, only those of its source.
 * WebGPU cannot enumerate adapters: two of the same kind and name are listed as one. Throws UnsupportedError if the
 * source has none, UsageError for an unknown source.
 */
export const listAdapters = async (): Promise<readonly ListedAdapter[]> =>
  (await foundAdapters()).map(({ info }) => info);

async function foundAdapters(): Promise<{ readonly adapter: GPUAdapter; readonly info: ListedAdapter }[]> {
  const source = sourceFromEnvironment();
  const attempts = [
    ...(source === undefined || source === "system" ? await systemAttempts() : []),
    ...(source === undefined || source === "swiftshader" ? [await fromSwiftShader()] : []),
    ...(source === "lavapipe" ? [await fromLavapipe(true)] : []),
  ];
  const reasons = attempts.flatMap((a) => ("missing" in a ? [a.missing] : []));
  if (source !== undefined && reasons.length === attempts.length) throw noAdapter(reasons);
  const listed = new Map<string, { readonly adapter: GPUAdapter; readonly info: ListedAdapter }>();
  for (const attempt of attempts) {
    if ("missing" in attempt) continue;
    const info = { ...adapterInfo(attempt.adapter, backend), source: attempt.source };
    const key = `${info.source}/${info.vendor}/${info.device}/${info.description}`;
    if (!listed.has(key)) listed.set(key, { adapter: attempt.adapter, info });
  }
  return [...listed.values()].sort((a, b) => Number(a.info.software) - Number(b.info.software));
}

async function systemAttempts(): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  for (const options of [
    { powerPreference: "high-performance" },
    { powerPreference: "low-power" },
    { forceFallbackAdapter: true },
  ] as const)
    attempts.push(await fromSystem(options));
  return attempts;
}

/** An adapter with a device opened on it, or the error that opening gave. */
export type OpenedAdapter = ListedAdapter & { readonly opened: GpuDevice | Error };

/** Opens every adapter of `listAdapters`; the caller disposes of the devices. */
export async function openAdapters(): Promise<readonly OpenedAdapter[]> {
  const opened: OpenedAdapter[] = [];
  for (const { adapter, info } of await foundAdapters()) {
    const attempt = open({ adapter, source: info.source, robust: true }, "all adapters are listed", []);
    opened.push({ ...info, opened: await attempt.catch((cause: unknown) => cause as Error) });
  }
  return opened;
}

/**
 * Opens a device; `GpuDevice.reason` says why this adapter was chosen, `adapter.software` whether it is a software one.
 * Throws UnsupportedError listing every source tried if there is no adapter, UsageError for an unknown source.
 */
export async function requestDevice(request: DeviceRequest): Promise<GpuDevice> {
  const source = request.source ?? (request.named === undefined ? sourceFromEnvironment() : undefined);
  const robust = request.robust ?? false;
  if (source) return open(await attempt(source, robust), `${source} was requested`, []);
  if (request.named !== undefined) return open(await fromNamed(request.named), "it was requested by name", []);
  if (request.prefer === "software") return openSoftware("a software adapter was requested", [], robust);
  const found = await fromSystem({ powerPreference: "high-performance" }, robust);
  if ("missing" in found) return openSoftware(`there is no hardware GPU (${found.missing})`, [found.missing], robust);
  if (!adapterInfo(found.adapter, backend).software) return open(found, "it is the hardware GPU of this machine", []);
  return open(found, "it is the system's adapter, and there is no hardware GPU", []);
}

/** The bundled SwiftShader if available, else any software adapter of the system. */
async function openSoftware(reason: string, looked: readonly string[], robust: boolean): Promise<GpuDevice> {
  const bundled = await fromSwiftShader(robust);
  if (!("missing" in bundled)) return open(bundled, reason, looked);
  return open(await fromSystem({ forceFallbackAdapter: true }, robust), reason, [...looked, bundled.missing]);
}

async function open(attempt: Attempt, reason: string, looked: readonly string[]): Promise<GpuDevice> {
  if ("missing" in attempt) throw noAdapter([...looked, attempt.missing]);
  const { software } = adapterInfo(attempt.adapter, backend);
  const { robust } = attempt;
  return openDevice(attempt.adapter, { backend, reason, robust, wait: software ? waitAsleep : waitPlainly });
}

function noAdapter(looked: readonly string[]): UnsupportedError {
  const hint =
    process.platform === "linux" && process.arch === "x64"
      ? "install a Vulkan driver, or SwiftShader (npm install --save-dev @sparticuz/chromium), or use the device cpu (--device cpu)"
      : "install a driver for your GPU, or use the device cpu (--device cpu)";
  const places = [...new Set(looked)].map((place) => `  - ${place}`).join("\n");
  return new UnsupportedError(`there is no WebGPU adapter on this machine\n${places}\n  hint: ${hint}${threadHint}`);
}

function attempt(source: AdapterSource, robust: boolean): Promise<Attempt> {
  if (source === "swiftshader") return fromSwiftShader(robust);
  return source === "lavapipe" ? fromLavapipe(robust) : fromSystem({ powerPreference: "high-performance" }, robust);
}

function sourceFromEnvironment(): AdapterSource | undefined {
  const value = process.env.HEDDLE_ADAPTER;
  if (!value) return undefined;
  const known = adapterSources.find((source) => source === value);
  if (!known)
    throw new UsageError(`HEDDLE_ADAPTER is "${value}"\n  hint: expected one of ${adapterSources.join(", ")}`);
  return known;
}

/** The system's own adapter. On Linux, asks Dawn only if a Vulkan driver is installed: otherwise it prints warnings. */
async function fromSystem(options: GPURequestAdapterOptions, robust = true): Promise<Attempt> {
  if (backend === "vulkan") {
    if (!(await loadSystemLoader())) return { missing: "system: no Vulkan loader (libvulkan.so.1)" };
    if (installedDrivers().length === 0) return { missing: "system: a Vulkan loader but no Vulkan driver" };
  }
  const ask = async (checked: boolean) => {
    const instance = await createInstance(backend, checked);
    return await quietly(() => instance.requestAdapter(options));
  };
  const adapter = await ask(true);
  if (!adapter) return { missing: `system: no ${backend} adapter` };
  if (robust || !adapterInfo(adapter, backend).software) return { adapter, source: "system", robust: true };
  const unchecked = await ask(false);
  return { adapter: unchecked ?? adapter, source: "system", robust: unchecked === null };
}

async function fromNamed(name: string): Promise<Attempt> {
  const instance = await createInstance(backend, true, name);
  const adapter = await quietly(() => instance.requestAdapter({}));
  return adapter ? { adapter, source: "system", robust: true } : { missing: `system: no ${backend} adapter "${name}"` };
}

async function fromSwiftShader(robust = true): Promise<Attempt> {
  const missing = swiftShaderMissing();
  if (missing) return { missing: `swiftshader: ${missing}` };
  const unpacked = await unpackSwiftShader().catch((cause: unknown) => {
    if (cause instanceof FileError) return { missing: `swiftshader: ${cause.message.replace(/\n\s*/g, "; ")}` };
    throw cause;
  });
  if ("missing" in unpacked) return unpacked;
  const { loader, manifest } = unpacked;
  if (!(await loadSystemLoader()) && !(await loadGlobally(loader))) {
    return { missing: `swiftshader: its Vulkan loader cannot be loaded (${loader})` };
  }
  const adapter = await withDriver(manifest, robust);
  return adapter
    ? { adapter, source: "swiftshader", robust }
    : { missing: `swiftshader: Dawn accepts no adapter of ${manifest}` };
}

async function fromLavapipe(robust: boolean): Promise<Attempt> {
  if (!(await loadSystemLoader())) return { missing: "lavapipe: no Vulkan loader (libvulkan.so.1)" };
  const manifest = installedDrivers().find((path) => /lvp_icd|lavapipe/.test(path));
  if (!manifest) return { missing: "lavapipe: no driver manifest lvp_icd.*.json is installed (Mesa's Vulkan drivers)" };
  const adapter = await withDriver(manifest, robust);
  if (adapter) return { adapter, source: "lavapipe", robust };
  return {
    missing: `lavapipe: Dawn accepts no adapter of ${manifest}; it refuses Mesa 22 and is known to take Mesa 25`,
  };
}

/** Uses a fresh instance, because Dawn caches the drivers found at an instance's first request. */
async function withDriver(manifest: string, robust: boolean): Promise<GPUAdapter | null> {
  const instance = await createInstance("vulkan", robust);
  return await quietly(() => withDrivers([manifest], () => instance.requestAdapter()));
}
