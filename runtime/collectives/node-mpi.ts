/** Collectives over MPI. All calls are nonblocking, made on the main thread, and polled from its event loop. */
import { UsageError } from "../../compiler/index.ts";
import { type Collectives, type Numbers, type Range, rangesOf, type Traffic } from "./collectives.ts";
import type { Launch } from "./launch-variables.ts";
import { funneled, loadMpi, type MpiLibrary } from "./node-mpi-library.ts";
import { bytesOf, openRequests, type Requests } from "./node-mpi-requests.ts";
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
  return new MpiRanks(mpi, rank, size, { rank: nodeRank, size: nodeSize });
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

/** Operations run one after the other, in the order of calls. */
function inOrder() {
  let last: Promise<unknown> = Promise.resolve();
  return (work: () => Promise<void>): Promise<void> => {
    const turn = last.then(work);
    last = turn;
    turn.catch(() => {}); // reported to this caller and to all later ones
    return turn;
  };
}

/** Its functions are properties, so that they can be passed on alone. */
class MpiRanks implements MpiCollectives {
  readonly rank: number;
  readonly size: number;
  readonly node: Collectives["node"];
  readonly carrier: string;
  readonly #mpi: MpiLibrary;
  readonly #turn = inOrder();
  #failed: Error | undefined;
  #sentBytes = 0;
  #seconds = 0;

  constructor(mpi: MpiLibrary, rank: number, size: number, node: Collectives["node"]) {
    this.rank = rank;
    this.size = size;
    this.node = node;
    this.carrier = mpi.name;
    this.#mpi = mpi;
  }

  readonly broadcast = (data: Numbers | Uint8Array, root: number): Promise<void> =>
    this.#inTurn(() => this.#broadcast(data, root));
  readonly allReduce: Collectives["allReduce"] = (data) =>
    this.#inTurn(() => this.#reduce(data, rangesOf(data.length, this.size), true));
  readonly reduceScatter: Collectives["reduceScatter"] = (data, ranges) =>
    this.#inTurn(() => this.#reduce(data, ranges, false));
  readonly allGather: Collectives["allGather"] = (data, ranges) => this.#inTurn(() => this.#gather(data, ranges));
  readonly scatter: Collectives["scatter"] = (data, ranges, root) =>
    this.#inTurn(() => this.#scatter(data, ranges, root));
  readonly barrier = (): Promise<void> => this.#inTurn(() => this.#barrier());
  readonly traffic = (): Traffic => ({ sentBytes: this.#sentBytes, seconds: this.#seconds });
  readonly fail = (why: Error): void => {
    this.#failed ??= why;
  };

  readonly channel: Collectives["channel"] = (number) => {
    let closed: Error | undefined;
    const { rank, size } = this;
    const turn = inOrder();
    const open = () => openRequests(this.#mpi, 2 * size, 1 + number, () => this.#failed ?? closed);
    return {
      rank,
      size,
      allGather: (data, ranges) => turn(() => this.#gather(data, ranges, open)),
      close: () => {
        closed = new Error("what ranks read ahead is not read on");
      },
    };
  };

  readonly dispose = async (): Promise<void> => {
    await this.barrier();
    this.#mpi.call("MPI_Finalize");
  };

  /** One after the other, in the order of calls, so that messages between two ranks arrive in one order. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    return this.#turn(async () => {
      const begun = performance.now();
      await work();
      this.#seconds += (performance.now() - begun) / 1000;
    });
  }

  #requests(most: number): Requests {
    return openRequests(this.#mpi, most, 0, () => this.#failed);
  }

  /** For each other rank, in turn: the rank to send to, and the one to receive from. */
  #others(): { readonly to: number; readonly from: number }[] {
    const { rank, size } = this;
    return Array.from({ length: size - 1 }, (_, i) => ({
      to: (rank + 1 + i) % size,
      from: (rank - 1 - i + size) % size,
    }));
  }

  /** Sends every rank its part of a piece, and receives all ranks' terms of this rank's part. */
  #startExchange(data: Numbers, parts: readonly Range[], into: readonly Numbers[]): Requests {
    const started = this.#requests(2 * this.size);
    const mine = lengthOf(parts[this.rank]!);
    for (const { to, from } of this.#others()) {
      started.receive(bytesOf(into[from]!, { from: 0, to: mine }), from);
      this.#sentBytes += started.send(bytesOf(data, parts[to]!), to);
    }
    return started;
  }

  #startGather(data: Numbers | Uint8Array, parts: readonly Range[], started = this.#requests(2 * this.size)): Requests {
    for (const { to, from } of this.#others()) {
      started.receive(bytesOf(data, parts[from]!), from);
      this.#sentBytes += started.send(bytesOf(data, parts[this.rank]!), to);
    }
    return started;
  }

  #piecesOf(ranges: readonly Range[], bytes: number): readonly (readonly Range[])[] {
    const most = Math.max(leastPiece, Math.floor(pieceBytes / bytes / this.size));
    const count = Math.max(...ranges.map((r) => Math.ceil(lengthOf(r) / most)));
    const part = ({ from, to }: Range, i: number) => ({
      from: Math.min(from + i * most, to),
      to: Math.min(from + (i + 1) * most, to),
    });
    return Array.from({ length: count }, (_, i) => ranges.map((r) => part(r, i)));
  }

  /** Sums this rank's range piece by piece; with `gathers`, each piece is sent to all ranks as soon as it is summed. */
  async #reduce(data: Numbers, ranges: readonly Range[], gathers: boolean): Promise<void> {
    const pieces = this.#piecesOf(ranges, data.BYTES_PER_ELEMENT);
    const most = Math.max(0, ...pieces.map((parts) => lengthOf(parts[this.rank]!)));
    const staging = Array.from({ length: Math.min(piecesUnderWay, pieces.length) }, () =>
      Array.from({ length: this.size }, () => emptyLike(data, most)),
    );
    const exchanges = pieces.slice(0, piecesUnderWay).map((parts, i) => this.#startExchange(data, parts, staging[i]!));
    const gathered: Requests[] = [];
    for (const [i, parts] of pieces.entries()) {
      await exchanges.shift()!.done();
      const slot = staging[i % piecesUnderWay]!;
      this.#addUp(part(data, parts[this.rank]!), slot);
      if (gathers) gathered.push(this.#startGather(data, parts));
      const next = pieces[i + piecesUnderWay];
      if (next) exchanges.push(this.#startExchange(data, next, slot));
      while (gathered.length > piecesUnderWay) await gathered.shift()!.done();
    }
    for (const one of gathered) await one.done();
  }

  /** Sums the terms of all ranks, in their order, into this rank's own. */
  #addUp(own: Numbers, terms: readonly Numbers[]): void {
    const range = { from: 0, to: own.length };
    addUp(
      own,
      terms.map((term, r) => (r === this.rank ? own.slice() : part(term, range))),
    );
  }

  async #gather(data: Numbers | Uint8Array, ranges: readonly Range[], open?: () => Requests): Promise<void> {
    const underWay: Requests[] = [];
    for (const parts of this.#piecesOf(ranges, data.BYTES_PER_ELEMENT)) {
      underWay.push(this.#startGather(data, parts, open?.()));
      while (underWay.length > piecesUnderWay) await underWay.shift()!.done();
    }
    for (const one of underWay) await one.done();
  }

  async #broadcast(data: Numbers | Uint8Array, root: number): Promise<void> {
    const bytes = bytesOf(data, { from: 0, to: data.length });
    for (let at = 0; at < bytes.length; at += largestMessage) {
      const started = this.#requests(1);
      const piece = bytes.subarray(at, at + largestMessage);
      started.add("MPI_Ibcast", piece, piece.length, this.#mpi.bytes, root, this.#mpi.world);
      await started.done();
      if (this.rank === root) this.#sentBytes += (this.size - 1) * piece.length;
    }
  }

  async #scatter(data: Uint8Array, ranges: readonly Range[], root: number): Promise<void> {
    const isRoot = this.rank === root;
    const first = isRoot ? 0 : ranges[this.rank]!.from;
    const bytesAt = ({ from, to }: Range) => bytesOf(data, { from: from - first, to: to - first });
    for (const parts of this.#piecesOf(ranges, 1)) {
      const started = this.#requests(this.size);
      if (!isRoot) started.receive(bytesAt(parts[this.rank]!), root);
      else for (const { to } of this.#others()) this.#sentBytes += started.send(bytesAt(parts[to]!), to);
      await started.done();
    }
  }

  async #barrier(): Promise<void> {
    const started = this.#requests(1);
    started.add("MPI_Ibarrier", this.#mpi.world);
    await started.done();
  }
}

const lengthOf = ({ from, to }: Range): number => to - from;

/** A view of a part of a tensor. */
const part = <T extends Numbers>(data: T, { from, to }: Range): T => data.subarray(from, to) as T;

const emptyLike = (data: Numbers, length: number): Numbers => {
  const buffer = new ArrayBuffer(length * data.BYTES_PER_ELEMENT);
  if (data instanceof Float32Array) return new Float32Array(buffer);
  return data instanceof Int32Array ? new Int32Array(buffer) : new Float16Array(buffer);
};
