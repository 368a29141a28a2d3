/**
 * Finds, identifies and calls the system's MPI library. Open MPI's handles are addresses of its symbols, MPICH's are
 * integers.
 */
import type { LibraryHandle } from "koffi";
import { UsageError } from "../../compiler/index.ts";
import type { Launch, Vendor } from "./launch-variables.ts";

/** An opaque handle of the library, as its functions take it. */
export type Handle = number | bigint;

export interface MpiLibrary {
  /** The library's own name: "Open MPI 4.1.4". */
  readonly name: string;
  readonly path: string;
  readonly world: Handle;
  readonly bytes: Handle;
  /**
   * Calls a function with the C types of `signatures`; throws UsageError with the library's error text when it fails.
   */
  call(name: MpiFunction, ...values: readonly unknown[]): void;
  /** Size in bytes of a request or communicator handle in memory. */
  readonly handleBytes: number;
  /** Reads the handle that a function wrote there. */
  readHandle(memory: Uint8Array): Handle;
  readonly noInfo: Handle;
  readonly returnErrors: Handle;
  /** MPI_COMM_TYPE_SHARED. */
  readonly sharedMemory: number;
  /** MPI_STATUSES_IGNORE. */
  readonly noStatuses: number;
}

/** Names of shared libraries, in the order to try. */
const libraryNames: Readonly<Record<Vendor, readonly string[]>> = {
  openmpi: ["libmpi.so.40", "libmpi.so", "libmpi.40.dylib", "/opt/homebrew/lib/libmpi.dylib"],
  mpich: ["libmpich.so.12", "libmpi.so.12", "libmpich.so", "libmpi_cray.so.12", "libmpi.12.dylib"],
};

/** Parameter types of each function: h is a handle, p an address, i an int, a an integer address. All return int. */
const signatures = {
  MPI_Init_thread: "ppip",
  MPI_Comm_rank: "hp",
  MPI_Comm_size: "hp",
  MPI_Comm_set_errhandler: "hh",
  MPI_Comm_split_type: "hiihp",
  MPI_Comm_free: "p",
  MPI_Isend: "pihiihp",
  MPI_Irecv: "pihiihp",
  MPI_Ibcast: "pihihp",
  MPI_Ibarrier: "hp",
  MPI_Testall: "ippa",
  MPI_Finalize: "",
} as const;
export type MpiFunction = keyof typeof signatures;

/** MPI_THREAD_FUNNELED in both libraries. */
export const funneled = 1;

/** Where the two libraries' binary interfaces differ. */
interface Dialect {
  readonly handle: "int" | "uintptr_t";
  readonly handleBytes: number;
  readonly sharedMemory: number;
  /** Handles of MPI's predefined objects. */
  readonly constant: (lib: LibraryHandle, name: keyof typeof mpichNumbers) => Handle;
  readonly noStatuses: number;
}

/** From MPICH's mpi.h, whose ABI Intel's and Cray's libraries share. */
const mpichNumbers = {
  comm_world: 0x44000000,
  byte: 0x4c00010d,
  errors_return: 0x54000001,
  info_null: 0x1c000000,
} as const;

const dialects: Readonly<Record<Vendor, Dialect>> = {
  openmpi: {
    handle: "uintptr_t",
    handleBytes: 8,
    sharedMemory: 0,
    constant: (lib, name) => BigInt(lib.symbol(`ompi_mpi_${name}`)),
    noStatuses: 0,
  },
  mpich: {
    handle: "int",
    handleBytes: 4,
    sharedMemory: 1,
    constant: (_, name) => mpichNumbers[name] | 0,
    noStatuses: 1,
  },
};

/**
 * Loads the library that works with the launcher, or the one at the path `chosen`. Throws UsageError saying what to
 * install when there is none.
 */
export async function loadMpi(
  { launcher, vendor, prefers = "openmpi" }: Omit<Launch, "rank" | "size">,
  chosen?: string,
) {
  const { default: koffi } = await import("koffi");
  const either = [...libraryNames[prefers], ...libraryNames[prefers === "openmpi" ? "mpich" : "openmpi"]];
  const names = chosen ? [chosen] : vendor ? libraryNames[vendor] : either;
  const faults: string[] = [];
  for (const path of names) {
    try {
      // Loaded globally: Open MPI's plugins resolve its symbols from the process's global scope.
      return named(koffi.load(path, { global: true }), path, vendor);
    } catch (error) {
      if (error instanceof UsageError) throw error;
      faults.push(`  - ${path}: ${error instanceof Error ? error.message.split("\n")[0] : String(error)}`);
    }
  }
  const packages = { openmpi: "libopenmpi3 (with openmpi-bin)", mpich: "libmpich12 (with mpich)" };
  const wanted = vendor ? packages[vendor] : Object.values(packages).join(" or ");
  throw new UsageError(
    `${launcher} started several processes, but no MPI library could be loaded\n${faults.join("\n")}\n  hint: install ${wanted} (Debian package names), or set HEDDLE_MPI to the path of libmpi`,
  );
}

function named(lib: LibraryHandle, path: string, wanted: Vendor | undefined): MpiLibrary {
  const text = versionText(lib);
  const vendor: Vendor = text.includes("Open MPI") ? "openmpi" : "mpich";
  const name = nameOf(text);
  if (wanted && wanted !== vendor)
    throw new UsageError(
      `${path} is ${name}, which does not work with this launcher: use the launcher of the same MPI, or set HEDDLE_MPI to the path of the matching library`,
    );
  const dialect = dialects[vendor];
  const functions = new Map<MpiFunction, ReturnType<LibraryHandle["func"]>>();
  const types = { h: dialect.handle, p: "void *", i: "int", a: "uintptr_t" };
  const functionOf = (name: MpiFunction): ReturnType<LibraryHandle["func"]> => {
    const known = functions.get(name);
    if (known) return known;
    const made = lib.func(
      name,
      "int",
      [...signatures[name]].map((c) => types[c as keyof typeof types]),
    );
    functions.set(name, made);
    return made;
  };
  return {
    name,
    path,
    world: dialect.constant(lib, "comm_world"),
    bytes: dialect.constant(lib, "byte"),
    noInfo: dialect.constant(lib, "info_null"),
    returnErrors: dialect.constant(lib, "errors_return"),
    sharedMemory: dialect.sharedMemory,
    noStatuses: dialect.noStatuses,
    handleBytes: dialect.handleBytes,
    readHandle: ({ buffer, byteOffset }) => {
      const view = new DataView(buffer, byteOffset, dialect.handleBytes);
      return dialect.handleBytes === 8 ? view.getBigUint64(0, true) : view.getInt32(0, true);
    },
    call: (name, ...values) => {
      const status = functionOf(name)(...values) as number;
      if (status !== 0) throw new UsageError(`${name} of ${path} failed: ${errorText(lib, status)}`);
    },
  };
}

/** The library's version text, which may be queried before MPI is initialized. */
function versionText(lib: LibraryHandle): string {
  const memory = new Uint8Array(new ArrayBuffer(8192)); // MPI_MAX_LIBRARY_VERSION_STRING is 256 in one, 8192 in the other
  const length = new Int32Array(new ArrayBuffer(4));
  lib.func("MPI_Get_library_version", "int", ["void *", "void *"])(memory, length);
  return textOf(memory, length[0]!);
}

function errorText(lib: LibraryHandle, status: number): string {
  const memory = new Uint8Array(new ArrayBuffer(1024));
  const length = new Int32Array(new ArrayBuffer(4));
  lib.func("MPI_Error_string", "int", ["int", "void *", "void *"])(status, memory, length);
  return textOf(memory, length[0]!);
}

const textOf = (memory: Uint8Array, length: number): string =>
  new TextDecoder().decode(memory.subarray(0, length)).replace(/\0.*$/s, "");

/** Shortens "Open MPI v4.1.4, package: ..." or "MPICH Version:\t4.0.2\n..." to name and version. */
function nameOf(text: string): string {
  const version = /v?(\d+(?:\.\d+)+)/.exec(text)?.[1] ?? "";
  const vendor = /Open MPI|MPICH|Intel\(R\) MPI|MVAPICH2?|CRAY MPICH/i.exec(text)?.[0] ?? text.split("\n")[0]!;
  return `${vendor} ${version}`.trim();
}
