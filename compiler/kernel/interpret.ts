/** Interprets a kernel in plain JavaScript, thread by thread: the reference that tests compare generated code with. */
import { InternalError } from "../diagnostics/error.ts";
import { collectiveResults, type Fragments, newFragments } from "./collective.ts";
import type { KernelArrays, Value } from "./evaluate.ts";
import type { Expr } from "./expr.ts";
import { ExprCode, type Frame } from "./expr-code.ts";
import { type Kernel, type Stmt, type ThreadBuiltin, threadBuiltins, threadsOf } from "./kernel.ts";
import { printStmt } from "./print.ts";
import { Races, threadAccessor, type Watch } from "./races.ts";
import { askedOfAll, codeOf, isCollective, type KernelCode, type Pause, type Run } from "./stmt-code.ts";

/** Parameters of the simulated machine. */
export interface Machine {
  /** Lanes per subgroup if the kernel does not require a size; default 32. */
  readonly subgroupSize?: number;
}

/** A thread: its registers and memory, its coroutine, and the pause that it is at; undefined once it has ended. */
interface Thread {
  readonly lid: number;
  readonly frame: Frame;
  /** Arrays that no other thread sees. */
  readonly own: readonly Float64Array[];
  run: Run;
  pause: Pause | undefined;
}

interface Subgroup {
  readonly lanes: readonly Thread[];
  readonly fragments: Fragments;
  readonly watch: Watch;
}

/** A vector without a value. */
const unset: readonly number[] = [];

/** The threads and memory of a workgroup. The workgroups of a launch use the same ones, one after another. */
class Workgroup {
  private readonly kernel: Kernel;
  private readonly code: KernelCode;
  /** Places of the scalars that a thread is given. */
  private readonly builtins: readonly (readonly [place: number, name: ThreadBuiltin])[];
  private readonly lanes: number;
  private readonly shared: readonly Float64Array[];
  private readonly memory: KernelArrays;
  private readonly threads: readonly Thread[];
  private readonly subgroups: readonly Subgroup[];
  private readonly races: Races;

  constructor(kernel: Kernel, buffers: KernelArrays, sizes: Frame["sizes"], lanes: number) {
    this.kernel = kernel;
    this.code = codeOf(kernel);
    this.builtins = threadBuiltins
      .map((name) => [this.code.scalars.indexOf(name), name] as const)
      .filter(([place]) => place >= 0);
    this.lanes = lanes;
    const shared = arraysOf(kernel, "workgroup");
    this.shared = Object.values(shared);
    this.memory = { ...buffers, ...shared };
    this.races = new Races(kernel);
    const races = this.code.memory.map((name) => this.races.of(name));
    const newThread = (lid: number): Thread => {
      const own = arraysOf(kernel, "private");
      const frame: Frame = {
        scalars: new Float64Array(this.code.scalars.length),
        vectors: this.code.vectors.map(() => unset),
        memory: this.code.memory.map((name) => own[name] ?? this.memory[name]!),
        races,
        accessor: threadAccessor(lid),
        sizes,
      };
      return { lid, frame, own: Object.values(own), run: this.code.run(frame), pause: undefined };
    };
    this.threads = Array.from({ length: threadsOf(kernel) }, (_, lid) => newThread(lid));
    this.subgroups = Array.from({ length: Math.ceil(this.threads.length / lanes) }, (_, i) => ({
      lanes: this.threads.slice(i * lanes, (i + 1) * lanes),
      fragments: newFragments(kernel),
      watch: this.races.watchSubgroup(i),
    }));
  }

  /** Runs the workgroup with this index. */
  run(wid: readonly number[]): void {
    this.begin(wid);
    if (this.code.alone) {
      for (const { frame } of this.threads) this.code.alone(frame);
      this.races.barrier();
      return;
    }
    let answer: number | undefined;
    for (;;) {
      for (const subgroup of this.subgroups) this.runToBarrier(subgroup, answer);
      this.races.barrier();
      const met = this.together(this.threads, "threads of a workgroup");
      if (met === undefined) return;
      answer = askedOfAll(met) && (this.threads.some((t) => t.pause!.operands[0]) ? 1 : 0);
    }
  }

  /** Clears what the last workgroup left, whose accesses a barrier has ended. */
  private begin(wid: readonly number[]): void {
    for (const array of this.shared) array.fill(0);
    for (const { fragments } of this.subgroups) for (const { data } of fragments.values()) data.fill(0);
    for (const thread of this.threads) {
      const { lid, frame, own } = thread;
      for (const array of own) array.fill(0);
      frame.scalars.fill(0);
      frame.vectors.fill(unset);
      for (const [place, name] of this.builtins) frame.scalars[place] = this.builtin(name, wid, lid);
      if (!this.code.alone) thread.run = this.code.run(frame);
    }
  }

  private builtin(name: ThreadBuiltin, wid: readonly number[], lid: number): number {
    switch (name) {
      case "wid_x":
        return wid[0]!;
      case "wid_y":
        return wid[1]!;
      case "wid_z":
        return wid[2]!;
      case "lid":
        return lid;
      case "subgroup_id":
        return Math.floor(lid / this.lanes);
      case "lane":
        return lid % this.lanes;
      case "subgroup_size":
        return this.lanes;
    }
  }

  /** Runs a subgroup to the next barrier or its end; `answer` is the result of a workgroup_any that it waits at. */
  private runToBarrier({ lanes, fragments, watch }: Subgroup, answer: number | undefined): void {
    let results: readonly (Value | undefined)[] = lanes.map(() => answer);
    for (;;) {
      for (const [i, lane] of lanes.entries()) lane.pause = lane.run.next(results[i]).value ?? undefined;
      // If some lanes are at a barrier and others have ended, `run` reports it for the whole workgroup.
      const collective = lanes.some((l) => l.pause && isCollective(l.pause.stmt));
      if (!collective) return;
      const stmt = this.together(lanes, "lanes of a subgroup")!;
      const operands = lanes.map((l) => l.pause!.operands);
      results = collectiveResults(stmt, operands, { kernel: this.kernel, fragments, memory: this.memory, watch });
    }
  }

  /** The statement at which all wait; undefined if all have ended. Throws InternalError if they diverge. */
  private together(threads: readonly Thread[], who: string): Stmt | undefined {
    const [first] = threads;
    const other = threads.find((t) => t.pause?.stmt !== first!.pause?.stmt);
    if (!other) return first!.pause?.stmt;
    const place = ({ lid, pause }: Thread) =>
      `thread ${lid} ${pause ? `waits at "${printStmt(pause.stmt, "").join(" ")}"` : "has ended"}`;
    throw new InternalError(`kernel "${this.kernel.name}": ${who} diverge: ${place(first!)}, ${place(other)}`);
  }
}

const arraysOf = (kernel: Kernel, space: string): Record<string, Float64Array> =>
  Object.fromEntries(kernel.arrays.filter((a) => a.space === space).map((a) => [a.name, new Float64Array(a.length)]));

type Numbers = Readonly<Record<string, number>>;

const indexCodes = new WeakMap<Expr, (sizes: Numbers, variables: Numbers) => number>();

/**
 * The value of an index expression, such as a grid dimension, that depends on sizes and the given variables only.
 * Throws InternalError for one that is not given.
 */
export function evaluateIndex(e: Expr, sizes: Numbers = {}, variables: Numbers = {}): number {
  if (e.kind === "const") return e.value;
  let code = indexCodes.get(e);
  if (!code) indexCodes.set(e, (code = indexCode(e)));
  return code(sizes, variables);
}

function indexCode(e: Expr): (sizes: Numbers, variables: Numbers) => number {
  const exprs = new ExprCode();
  const value = exprs.scalar(e);
  const names = exprs.scalars.names;
  return (sizes, variables) => {
    const scalars = Float64Array.from(names, (name) => {
      const value = variables[name];
      if (value === undefined) throw new InternalError(`the variable ${name} has no value`); // NaN would become 0
      return value;
    });
    return value({ scalars, vectors: [], memory: [], races: [], accessor: 0, sizes });
  };
}

/** Runs every workgroup of a kernel on arrays with the names of its buffers, which it writes in place. */
export function interpretKernel(
  kernel: Kernel,
  buffers: KernelArrays,
  sizes: Readonly<Record<string, number>> = {},
  machine: Machine = {},
): void {
  const lanes = kernel.subgroupSize ?? machine.subgroupSize ?? 32;
  if (machine.subgroupSize !== undefined && machine.subgroupSize !== lanes) {
    throw new InternalError(`kernel "${kernel.name}" requires subgroup size ${lanes}, not ${machine.subgroupSize}`);
  }
  const [x, y, z] = kernel.grid.map((g) => evaluateIndex(g, sizes));
  const workgroup = new Workgroup(kernel, buffers, sizes, lanes);
  for (let k = 0; k < z!; k++) {
    for (let j = 0; j < y!; j++) {
      for (let i = 0; i < x!; i++) workgroup.run([i, j, k]);
    }
  }
}
