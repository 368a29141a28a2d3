/**
 * What every executor is: it compiles graphs, keeps named tensors between runs, and runs. Nothing here knows a device.
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

/** What a person is told about the device in use. */
export interface DeviceInfo {
  /** "cpu", "webgpu" or "reference". */
  readonly backend: string;
  /** The device's own name: adapter, driver, or the processor's runtime. */
  readonly name: string;
  /** True where a GPU is imitated in software. */
  readonly software: boolean;
}

/** As what floats lie in files. */
export type StoredFloat = "f32" | "f16" | "bf16";

/** A tensor of floats that lies outside memory, in the order of its axes, and how its bytes are had. */
export interface StoredTensor {
  readonly axes: readonly SizedAxis[];
  /** As what a store is to keep it. */
  readonly dtype: Extract<DType, "f32" | "f16">;
  /** As what its bytes are. */
  readonly stored: StoredFloat;
  /** Where it lies: tensors of one file are read in the order of their offsets. */
  readonly place: { readonly file: string; readonly offset: number };
  /** Fills `into` with the tensor's bytes from `at` on. Several calls may be under way at once. */
  readonly fill: (at: number, into: Uint8Array<ArrayBuffer>) => Promise<void>;
  /**
   * Fills `into` with elements from `first` on in the dtype that is kept, converted and checked by the host: for devices
   * that compute slower than it. Throws what `notFinite` says.
   */
  readonly fillConverted?: (first: number, into: Uint8Array<ArrayBuffer>) => Promise<void>;
  /** What to throw where an element is NaN or infinite in the dtype that is kept; without it nothing is checked. */
  readonly notFinite?: (element: number) => Promise<Error>;
}

/**
 * Named tensors that stay on the device between runs: parameters, optimizer state, counters, caches.
 * A run reads them by the names of the graph's `parameter` and state inputs and replaces those in `graph.updates`.
 */
export interface Store {
  /** Sets a tensor; creates it on first use. */
  write(name: string, value: HostTensor): Promise<void>;
  /**
   * Sets tensors from where they lie, by ranges of bytes, so that none is ever whole in host memory; converts and checks
   * them on the device. Absent where a store has nothing better than `write`. None is set when it throws.
   */
  load?(tensors: ReadonlyMap<string, StoredTensor>): Promise<void>;
  /** A copy in host memory; throws UsageError naming the nearest tensor when there is none of that name. */
  read(name: string): Promise<HostTensor>;
  names(): readonly string[];
  /** Frees a tensor, if there is one of that name: runs that were begun before have it to their end. */
  remove(name: string): void;
  dispose(): void;
}

export interface RunOptions {
  /** Outputs wanted in host memory; default all that update no state. Others are computed only if they update state. */
  readonly fetch?: readonly string[];
  /** Is told each output that is fetched, once: of an executable that `isGradual` as soon as it is there. Others may leave it out. */
  readonly arrived?: (name: string, value: HostTensor) => void;
}

/** A compiled graph. */
export interface Executable {
  readonly graph: Graph;
  /** Whether a run tells outputs that have arrived before all are computed. */
  readonly isGradual?: boolean;
  /**
   * Runs once: `feeds` holds the graph's `input` (role feed) and `random` tensors by name. May be called before earlier
   * runs have ended: those of one store take place in the order of their calls. Whoever reads or writes it waits for them.
   * Throws UsageError for a missing, unknown or mis-shaped feed, naming axes.
   */
  run(
    feeds: Readonly<Record<string, HostTensor>>,
    store: Store,
    options?: RunOptions,
  ): Promise<Record<string, HostTensor>>;
  dispose(): void;
}

export interface CompileOptions {
  /** Numbers for symbolic sizes; those without one stay open until a run. */
  readonly sizes?: Sizes;
  /**
   * Compile anew for each set of sizes that runs come with, instead of once for all: code for known sizes can be a little
   * faster. Default false.
   */
  readonly fixed?: boolean;
  /** In which floats most of the work is done, where the executor can: `Backend.precision` says. Default "f32". */
  readonly precision?: Precision;
  /** Compiled by the same backend, and in memory at the same time: where there is a budget, it is for all together. */
  readonly beside?: readonly Executable[];
}

export interface Backend {
  readonly device: DeviceInfo;
  createStore(): Store;
  compile(graph: Graph, options?: CompileOptions): Promise<Executable>;
  /** What graphs are computed in here when that is asked for, and why. */
  precision(asked: PrecisionAsked): PrecisionPath;
  /** Pipelines or sessions made so far: while it stays the same, nothing was compiled. */
  pipelines(): number;
  dispose(): void;
}
