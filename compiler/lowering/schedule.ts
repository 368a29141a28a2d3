/** Schedules as data: what an adapter is like, and the shapes that kernels take on it. */
import { guaranteedFacts, type KernelFacts } from "../kernel/adapter-facts.ts";

/** What kernels are chosen by. */
export interface AdapterFacts extends KernelFacts {
  /** Kernels run on CPU threads: registers are cheap, barriers and workgroup memory dear. */
  readonly software: boolean;
  /** Bytes that the start of a binding is a multiple of. */
  readonly bindingAlignment: number;
}

/** WebGPU's guaranteed limits: kernels made for these run everywhere. */
export const baselineFacts: AdapterFacts = {
  ...guaranteedFacts,
  software: false,
  bindingAlignment: 256,
};

/** Results that one thread computes in registers: rows of the left operand times columns of the right. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
}

/** A contraction's results that a workgroup computes together, from slabs of both operands in memory that it shares. */
export interface SharedTile {
  /** Rows and columns: the same number of each. */
  readonly side: number;
  /** Indices of the contracted axes that one slab has. */
  readonly depth: number;
  /** Rows and columns that each thread computes. */
  readonly perThread: number;
}

export interface Schedule {
  readonly facts: AdapterFacts;
  readonly threads: number;
  /** Elements of one thread of an elementwise kernel. */
  readonly elements: number;
  readonly tile: Tile;
  /** The largest first; none where sharing costs more than it saves. */
  readonly sharedTiles: readonly SharedTile[];
  /** Query or key elements that a thread of an attention kernel holds; more of them share what is walked, and take longer to compile. */
  readonly attentionElements: number;
  /** Threads that share one row of a reduction; 1 gives each thread whole rows. */
  readonly rowThreads: number;
}

const sharedTiles: readonly SharedTile[] = [
  { side: 128, depth: 16, perThread: 8 },
  { side: 64, depth: 16, perThread: 4 },
  { side: 32, depth: 32, perThread: 4 },
];

/** Floats between the rows of a slab, so that threads that write one column reach different banks. */
export const slabPitch = (tile: SharedTile): number => tile.side + 2;

const fits = (tile: SharedTile, facts: AdapterFacts): boolean =>
  2 * 4 * tile.depth * slabPitch(tile) <= facts.maxWorkgroupStorage &&
  (tile.side / tile.perThread) ** 2 <= facts.maxWorkgroupInvocations;

export const scheduleFor = (facts: AdapterFacts): Schedule => ({
  facts,
  threads: facts.software ? 32 : 64,
  elements: 4,
  tile: { rows: 8, columns: 8 },
  sharedTiles: facts.software ? [] : sharedTiles.filter((t) => fits(t, facts)),
  attentionElements: facts.software ? 64 : 32,
  rowThreads: facts.software ? 1 : 64,
});
