/** Collectives over MPI. All calls are nonblocking, made on the main thread, and polled from its event loop. */

import { UsageError } from "../../compiler/index.ts";
import { type Collectives, type Numbers, type Range, rangesOf, type Traffic } from "./collectives.ts";
import type { Launch } from "./launch-variables.ts";
import { funneled, loadMpi, type MpiLibrary } from "./node-mpi-library.ts";
import { addUp } from "./sums.ts";

/** Collectives whose pending and later operations can be made to fail. */
export interface MpiCollectives extends Collectives {
  /** Rejects all operations, pending and later, with this error. */
  fail(why: Error): void;
}

/** Joins the processes that a launcher started. `chosen` is the library's path, if the user gave one. */
export async function openMpi(launch: Launch, chosen?: string): Promise<MpiCollectives> {
  const mpi = await loadMpi(launch, chosen);
  const answer = new Int32Array(new ArrayBuffer(4));
  mpi.call("MPI_Init_thread", null, null, funneled, answer);
  mpi.call("MPI_Comm_set_errhandler", mpi.world, mpi.returnErrors);
  const [rank, size] = placeIn(mpi, mpi.world);
  if (size !== launch.size)
    throw new UsageError(
      `${launch.launcher} started ${launch.size} processes, but ${mpi.name} (${mpi.path}) sees ${size}: it was built for another launcher. Start with its own mpirun, set HEDDLE_MPI to the path of the right libmpi, or ${launch.hint ?? "with srun try --mpi=pmix or --mpi=pmi2"}`,
    );
  const node = new Uint8Array(new ArrayBuffer(mpi.handleBytes));
  mpi.call("MPI_Comm_split_type", mpi.world, mpi.sharedMemory, rank, mpi.noInfo, node);
  const [nodeRank, nodeSize] = placeIn(mpi, mpi.readHandle(node));
  mpi.call("MPI_Comm_free", node);
  return collectives(mpi, rank, size, { rank: nodeRank, size: nodeSize });
}

function placeIn(mpi: MpiLibrary, communicator: number | bigint): [rank: number, size: number] {
  const [rank, size] = [new Int32Array(new ArrayBuffer(4)), new Int32Array(new ArrayBuffer(4))];
  mpi.call("MPI_Comm_rank", communicator, rank);
  mpi.call("MPI_Comm_size", communicator, size);
  return [rank[0]!, size[0]!];
}

/** Bytes exchanged at a time, over the ranges of all ranks, and how many such pieces are in flight at once. */
const pieceBytes = 2 ** 22;
const piecesUnderWay = 2;
/** Lower bound on the elements sent to a rank at a time, so that messages do not shrink with the number of ranks. */
const leastPiece = 2 ** 14;
const largestMessage = 2 ** 30;

function collectives(mpi: MpiLibrary, rank: number, size: number, node: Collectives["node"]): MpiCollectives {
  let failed: Error | undefined;
  let [sentBytes, seconds] = [0, 0];
  const orderly = () => {
    let last: Promise<unknown> = Promise.resolve();
    return (work: () => Promise<void>): Promise<void> => {
      const turn = last.then(work);
      last = turn;
      turn.catch(() => {}); // reported to this caller and to all later ones
      return turn;
    };
  };
  const own = orderly();
  /** One after the other, in the order of calls, so that messages between two ranks arrive in one order. */
  const inTurn = (work: () => Promise<void>): Promise<void> =>
    own(async () => {
      const begun = performance.now();
      await work();
      seconds += (performance.now() - begun) / 1000;
    });
  const requests = (most: number, tag = 0, given: () => Error | undefined = () => failed) =>
    openRequests(mpi, most, tag, given);
  const others = Array.from({ length: size - 1 }, (_, i) => i + 1);

  /** Sends every rank its part of a piece, and receives all ranks' terms of this rank's part. */
  const startExchange = (data: Numbers, parts: readonly Range[], into: readonly Numbers[]) => {
    const started = requests(2 * size);
    const mine = lengthOf(parts[rank]!);
    for (const i of others) {
      const [to, from] = [(rank + i) % size, (rank - i + size) % size];
      started.receive(bytesOf(into[from]!, { from: 0, to: mine }), from);
      sentBytes += started.send(bytesOf(data, parts[to]!), to);
    }
    return started;
  };
  const startGather = (data: Numbers | Uint8Array, parts: readonly Range[], started = requests(2 * size)) => {
    for (const i of others) {
      const [to, from] = [(rank + i) % size, (rank - i + size) % size];
      started.receive(bytesOf(data, parts[from]!), from);
      sentBytes += started.send(bytesOf(data, parts[rank]!), to);
    }
    return started;
  };
  const piecesOf = (ranges: readonly Range[], bytes: number): readonly (readonly Range[])[] => {
    const most = Math.max(leastPiece, Math.floor(pieceBytes / bytes / size));
    const count = Math.max(...ranges.map((r) => Math.ceil(lengthOf(r) / most)));
    const part = ({ from, to }: Range, i: number) => ({
      from: Math.min(from + i * most, to),
      to: Math.min(from + (i + 1) * most, to),
    });
    return Array.from({ length: count }, (_, i) => ranges.map((r) => part(r, i)));
  };

  /** Sums this rank's range piece by piece; with `gathers`, each piece is sent to all ranks as soon as it is summed. */
  const reduce = async (data: Numbers, ranges: readonly Range[], gathers: boolean) => {
    const pieces = piecesOf(ranges, data.BYTES_PER_ELEMENT);
    const most = Math.max(0, ...pieces.map((parts) => lengthOf(parts[rank]!)));
    const staging = Array.from({ length: Math.min(piecesUnderWay, pieces.length) }, () =>
      Array.from({ length: size }, () => emptyLike(data, most)),
    );
    const exchanges = pieces.slice(0, piecesUnderWay).map((parts, i) => startExchange(data, parts, staging[i]!));
    const gathered: Requests[] = [];
    for (const [i, parts] of pieces.entries()) {
      await exchanges.shift()!.done();
      const slot = staging[i % piecesUnderWay]!;
      const own = part(data, parts[rank]!);
      addUp(
        own,
        slot.map((term, r) => (r === rank ? own.slice() : part(term, { from: 0, to: own.length }))),
      );
      if (gathers) gathered.push(startGather(data, parts));
      const next = pieces[i + piecesUnderWay];
      if (next) exchanges.push(startExchange(data, next, slot));
      while (gathered.length > piecesUnderWay) await gathered.shift()!.done();
    }
    for (const one of gathered) await one.done();
  };
  const gather = async (data: Numbers | Uint8Array, ranges: readonly Range[], started?: () => Requests) => {
    const underWay: Requests[] = [];
    for (const parts of piecesOf(ranges, data.BYTES_PER_ELEMENT)) {
      underWay.push(startGather(data, parts, started?.()));
      while (underWay.length > piecesUnderWay) await underWay.shift()!.done();
    }
    for (const one of underWay) await one.done();
  };
  const broadcast = async (data: Numbers | Uint8Array, root: number) => {
    for (let at = 0; at < data.byteLength; at += largestMessage) {
      const started = requests(1);
      const piece = bytesOf(data, { from: 0, to: data.length }).subarray(at, at + largestMessage);
      started.add("MPI_Ibcast", piece, piece.length, mpi.bytes, root, mpi.world);
      await started.done();
      if (rank === root) sentBytes += (size - 1) * piece.length;
    }
  };
  const scatter = async (data: Uint8Array, ranges: readonly Range[], root: number) => {
    const first = rank === root ? 0 : ranges[rank]!.from;
    const bytesAt = ({ from, to }: Range) => bytesOf(data, { from: from - first, to: to - first });
    for (const parts of piecesOf(ranges, 1)) {
      const started = requests(size);
      if (rank !== root) started.receive(bytesAt(parts[rank]!), root);
      else
        for (const i of others) {
          const to = (rank + i) % size;
          sentBytes += started.send(bytesAt(parts[to]!), to);
        }
      await started.done();
    }
  };
  const barrier = async () => {
    const started = requests(1);
    started.add("MPI_Ibarrier", mpi.world);
    await started.done();
  };
  return {
    rank,
    size,
    node,
    carrier: mpi.name,
    broadcast: (data, root) => inTurn(() => broadcast(data, root)),
    allReduce: (data) => inTurn(() => reduce(data, rangesOf(data.length, size), true)),
    reduceScatter: (data, ranges) => inTurn(() => reduce(data, ranges, false)),
    allGather: (data, ranges) => inTurn(() => gather(data, ranges)),
    scatter: (data, ranges, root) => inTurn(() => scatter(data, ranges, root)),
    barrier: () => inTurn(barrier),
    channel: (number) => {
      let closed: Error | undefined;
      const turn = orderly();
      const started = () => requests(2 * size, 1 + number, () => failed ?? closed);
      return {
        rank,
        size,
        allGather: (data, ranges) => turn(() => gather(data, ranges, started)),
        close: () => {
          closed = new Error("what ranks read ahead is not read on");
        },
      };
    },
    traffic: (): Traffic => ({ sentBytes, seconds }),
    fail: (why) => {
      failed ??= why;
    },
    dispose: async () => {
      await inTurn(barrier);
      mpi.call("MPI_Finalize");
    },
  };
}

const lengthOf = ({ from, to }: Range): number => to - from;

/** A view of a part of a tensor. */
const part = <T extends Numbers>(data: T, { from, to }: Range): T => data.subarray(from, to) as T;

/**
 * The bytes of a range, as a view. Accessing `buffer` moves small typed arrays off the JS heap, where the garbage
 * collector could move them during a transfer.
 */
function bytesOf(data: Numbers | Uint8Array, { from, to }: Range): Uint8Array {
  const each = data.BYTES_PER_ELEMENT;
  return new Uint8Array(data.buffer, data.byteOffset + from * each, (to - from) * each);
}

const emptyLike = (data: Numbers, length: number): Numbers => {
  const buffer = new ArrayBuffer(length * data.BYTES_PER_ELEMENT);
  if (data instanceof Float32Array) return new Float32Array(buffer);
  return data instanceof Int32Array ? new Int32Array(buffer) : new Float16Array(buffer);
};

/** Nonblocking calls that were started together. */
interface Requests {
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

function openRequests(mpi: MpiLibrary, most: number, tag: number, failed: () => Error | undefined): Requests {
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
