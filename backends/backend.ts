/**
 * The executor interface: compile graphs, keep named tensors between runs, and run. Nothing here is device-specific.
 */
import type {
  DType,
  Graph,
  HostTensor,
  Precision,
  PrecisionAsked,
  PrecisionPath,
  SizedAxis,
  Sizes,
} from "../compiler/index.ts";

export { checkFeeds, checkResidents, fetchedOutputs } from "./feeds.ts";
export { fedBytes, requireHostMemory } from "./host-memory.ts";
export { inTurn } from "./in-turn.ts";

/** User-facing description of the device in use. */
export interface DeviceInfo {
  /** "cpu", "webgpu" or "reference". */
  readonly backend: string;
  /** The device's own name: adapter, driver, or CPU runtime. */
  readonly name: string;
  /** True for a GPU emulated in software. */
  readonly software: boolean;
}

/** Float formats of stored weights. */
export type StoredFloat = "f32" | "f16" | "bf16";

/** A float tensor that lives outside host memory, row-major in its axes, and how to read its bytes. */
export interface StoredTensor {
  readonly axes: readonly SizedAxis[];
  /** The dtype in which a store keeps it. */
  readonly dtype: Extract<DType, "f32" | "f16">;
  /** The format of the stored bytes. */
  readonly stored: StoredFloat;
  /** Its location: tensors of one file are read in offset order. */
  readonly place: { readonly file: string; readonly offset: number };
  /** Fills `into` with the tensor's bytes starting at `at`. Calls may be concurrent. */
  readonly fill: (at: number, into: Uint8Array<ArrayBuffer>) => Promise<void>;
  /**
   * Fills `into` with elements starting at `first`, already in `dtype`: converted and checked on the host, for devices
   * that compute slower than the host. Throws the error that `notFinite` returns.
   */
  readonly fillConverted?: (first: number, into: Uint8Array<ArrayBuffer>) => Promise<void>;
  /** The error to throw for an element that is NaN or infinite in `dtype`; if absent, nothing is checked. */
  readonly notFinite?: (element: number) => Promise<Error>;
}

/**
 * Named tensors that stay on the device between runs: parameters, optimizer state, counters, caches.
 * A run reads them by the names of the graph's `parameter` and state inputs and overwrites those in `graph.updates`.
 */
export interface Store {
  /** Sets a tensor; creates it on first use. */
  write(name: string, value: HostTensor): Promise<void>;
  /**
   * Sets tensors by streaming byte ranges from their location, so that none is ever whole in host memory; converts and
   * checks them on the device. Absent where a store has nothing better than `write`. Sets none of them if it throws.
   */
  load?(tensors: ReadonlyMap<string, StoredTensor>): Promise<void>;
  /** A copy in host memory; throws UsageError suggesting the closest name when there is no such tensor. */
  read(name: string): Promise<HostTensor>;
  names(): readonly string[];
  /** Frees the tensor of that name, if any. Runs already started keep it until they end. */
  remove(name: string): void;
  dispose(): void;
}

export interface RunOptions {
  /**
   * Outputs to copy to host memory; default: all that update no state. Others are computed only if they update state.
   */
  readonly fetch?: readonly string[];
  /**
   * Called once per fetched output: as soon as it is available if the executable `isGradual`. Other executables may
   * never call it.
   */
  readonly arrived?: (name: string, value: HostTensor) => void;
}

/** A compiled graph. */
export interface Executable {
  readonly graph: Graph;
  /** Whether a run reports each output as it becomes available, before all are computed. */
  readonly isGradual?: boolean;
  /**
   * Runs once: `feeds` holds the graph's `input` (role feed) and `random` tensors by name. May be called before earlier
   * runs have ended: runs on one store execute in call order. Callers that read or write the store must await them
   * first. Throws UsageError for a missing, unknown or mis-shaped feed, naming the axes.
   */
  run(
    feeds: Readonly<Record<string, HostTensor>>,
    store: Store,
    options?: RunOptions,
  ): Promise<Record<string, HostTensor>>;
  dispose(): void;
}

export interface CompileOptions {
  /** Values for symbolic sizes; the rest stay symbolic until a run. */
  readonly sizes?: Sizes;
  /**
   * Recompile for each distinct set of run sizes instead of once for all: code specialized to static sizes can be a
   * little faster. Default false.
   */
  readonly fixed?: boolean;
  /** The float type for most of the compute, where supported: see `Backend.precision`. Default "f32". */
  readonly precision?: Precision;
  /**
   * Executables of the same backend that are in memory at the same time: a memory budget covers all of them together.
   */
  readonly beside?: readonly Executable[];
}

export interface Backend {
  readonly device: DeviceInfo;
  createStore(): Store;
  compile(graph: Graph, options?: CompileOptions): Promise<Executable>;
  /** The precision actually used for a requested one, and why. */
  precision(asked: PrecisionAsked): PrecisionPath;
  /** Number of pipelines or sessions created so far: if it has not changed, nothing was compiled. */
  pipelines(): number;
  dispose(): void;
}
