/** Nonblocking calls of MPI that are started together, and polled until all have completed. */
import type { Numbers, Range } from "./collectives.ts";
import type { MpiLibrary } from "./node-mpi-library.ts";

/**
 * The bytes of a range, as a view. Accessing `buffer` moves small typed arrays off the JS heap, where the garbage
 * collector could move them during a transfer.
 */
export function bytesOf(data: Numbers | Uint8Array, { from, to }: Range): Uint8Array {
  const each = data.BYTES_PER_ELEMENT;
  return new Uint8Array(data.buffer, data.byteOffset + from * each, (to - from) * each);
}

/** Nonblocking calls that were started together. */
export interface Requests {
  add(name: "MPI_Ibcast" | "MPI_Ibarrier" | "MPI_Isend" | "MPI_Irecv", ...values: readonly unknown[]): void;
  /** Returns the number of bytes; an empty message is not sent. */
  send(bytes: Uint8Array, to: number): number;
  receive(bytes: Uint8Array, from: number): void;
  /** Resolves when all calls have completed. */
  done(): Promise<void>;
}

/**
 * Milliseconds of polling at every turn of the event loop, while messages are expected any moment, before polling less
 * often.
 */
const eager = 2;

export function openRequests(mpi: MpiLibrary, most: number, tag: number, failed: () => Error | undefined): Requests {
  const handles = new Uint8Array(new ArrayBuffer(most * mpi.handleBytes));
  const flag = new Int32Array(new ArrayBuffer(4));
  const held: unknown[] = []; // keeps the buffers alive: MPI accesses them until the calls complete
  let count = 0;
  const add: Requests["add"] = (name, ...values) => {
    const why = failed();
    if (why) throw why;
    held.push(values);
    mpi.call(name, ...values, handles.subarray(count * mpi.handleBytes));
    count += 1;
  };
  const isDone = (): boolean => {
    mpi.call("MPI_Testall", count, handles, flag, mpi.noStatuses);
    return flag[0] === 1;
  };
  return {
    add,
    send: (bytes, to) => {
      if (bytes.length > 0) add("MPI_Isend", bytes, bytes.length, mpi.bytes, to, tag, mpi.world);
      return bytes.length;
    },
    receive: (bytes, from) => {
      if (bytes.length > 0) add("MPI_Irecv", bytes, bytes.length, mpi.bytes, from, tag, mpi.world);
    },
    done: async () => {
      const begun = performance.now();
      while (!isDone()) {
        const why = failed();
        if (why) throw why;
        await (performance.now() - begun < eager ? turn() : shortly());
      }
      held.length = 0;
    },
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const shortly = () => new Promise<void>((resolve) => setTimeout(resolve, 1));
