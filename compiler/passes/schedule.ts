/** Schedules as data: what an adapter is like, and the shapes that kernels take on it. */

/** What kernels are chosen by. */
export interface AdapterFacts {
  /** Kernels run on CPU threads: registers are cheap, barriers and workgroup memory dear. */
  readonly software: boolean;
  /** Storage buffers that one kernel may bind. */
  readonly maxBindings: number;
  /** Bytes that the start of a binding is a multiple of. */
  readonly bindingAlignment: number;
  readonly maxWorkgroupInvocations: number;
  readonly maxWorkgroupsPerDimension: number;
}

/** WebGPU's guaranteed limits: kernels made for these run everywhere. */
export const baselineFacts: AdapterFacts = {
  software: false,
  maxBindings: 8,
  bindingAlignment: 256,
  maxWorkgroupInvocations: 256,
  maxWorkgroupsPerDimension: 65535,
};

/** Results that one thread computes in registers: rows of the left operand times columns of the right. */
export interface Tile {
  readonly rows: number;
  readonly columns: number;
}

export interface Schedule {
  readonly facts: AdapterFacts;
  readonly threads: number;
  /** Elements of one thread of an elementwise kernel. */
  readonly elements: number;
  readonly tile: Tile;
  /** Query or key elements that a thread of an attention kernel holds; more of them share what is walked, and take longer to compile. */
  readonly attentionElements: number;
  /** Threads that share one row of a reduction; 1 gives each thread whole rows. */
  readonly rowThreads: number;
}

export const scheduleFor = (facts: AdapterFacts): Schedule => ({
  facts,
  threads: facts.software ? 32 : 64,
  elements: 4,
  tile: { rows: 8, columns: 8 },
  attentionElements: facts.software ? 64 : 32,
  rowThreads: facts.software ? 1 : 64,
});
