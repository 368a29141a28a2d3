/** Interprets a kernel in plain JavaScript, thread by thread: the reference that tests compare generated code with. */
import { InternalError } from "../diagnostics/error.ts";
import { collectiveResults, type Fragments, newFragments } from "./collective.ts";
import type { KernelArrays, Value } from "./evaluate.ts";
import type { Expr } from "./expr.ts";
import { ExprCode, type Frame } from "./expr-code.ts";
import { type Kernel, type Stmt, type ThreadBuiltin, threadsOf } from "./kernel.ts";
import { printStmt } from "./print.ts";
import { Races, threadAccessor, type Watch } from "./races.ts";
import { askedOfAll, codeOf, isCollective, type Pause, type Run } from "./stmt-code.ts";

/** Parameters of the simulated machine. */
export interface Machine {
  /** Lanes per subgroup if the kernel does not require a size; default 32. */
  readonly subgroupSize?: number;
}

/** A thread with its current pause; undefined once it has ended. */
interface Running {
  readonly lid: number;
  readonly run: Run;
  pause: Pause | undefined;
}

interface Subgroup {
  readonly lanes: readonly Running[];
  readonly fragments: Fragments;
  readonly watch: Watch;
}

class Workgroup {
  private readonly kernel: Kernel;
  private readonly memory: KernelArrays;
  private readonly subgroups: Subgroup[] = [];
  private readonly races: Races;

  constructor(kernel: Kernel, wid: readonly number[], buffers: KernelArrays, sizes: Frame["sizes"], lanes: number) {
    this.kernel = kernel;
    const shared = arraysOf(kernel, "workgroup");
    this.memory = { ...buffers, ...shared };
    this.races = new Races(kernel);
    const code = codeOf(kernel);
    const races = code.memory.map((name) => this.races.of(name));
    const begin = (lid: number): Running => {
      const own = { ...this.memory, ...arraysOf(kernel, "private") };
      const t: Frame = {
        scalars: new Float64Array(code.scalars.length),
        vectors: code.vectors.map(() => []),
        memory: code.memory.map((name) => own[name]!),
        races,
        accessor: threadAccessor(lid),
        sizes,
      };
      const builtins: Record<ThreadBuiltin, number> = {
        wid_x: wid[0]!,
        wid_y: wid[1]!,
        wid_z: wid[2]!,
        lid,
        subgroup_id: Math.floor(lid / lanes),
        lane: lid % lanes,
        subgroup_size: lanes,
      };
      for (const [place, name] of code.scalars.entries())
        if (Object.hasOwn(builtins, name)) t.scalars[place] = builtins[name as ThreadBuiltin];
      return { lid, run: code.run(t), pause: undefined };
    };
    for (let first = 0; first < threadsOf(kernel); first += lanes) {
      const count = Math.min(lanes, threadsOf(kernel) - first);
      const threads = Array.from({ length: count }, (_, i) => begin(first + i));
      const watch = this.races.watchSubgroup(first / lanes);
      this.subgroups.push({ lanes: threads, fragments: newFragments(kernel), watch });
    }
  }

  run(): void {
    const threads = this.subgroups.flatMap((s) => s.lanes);
    let answer: number | undefined;
    for (;;) {
      for (const subgroup of this.subgroups) this.runToBarrier(subgroup, answer);
      this.races.barrier();
      const met = this.together(threads, "threads of a workgroup");
      if (met === undefined) return;
      answer = askedOfAll(met) && (threads.some((t) => t.pause!.operands[0]) ? 1 : 0);
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
  private together(threads: readonly Running[], who: string): Stmt | undefined {
    const [first] = threads;
    const other = threads.find((t) => t.pause?.stmt !== first!.pause?.stmt);
    if (!other) return first!.pause?.stmt;
    const place = ({ lid, pause }: Running) =>
      `thread ${lid} ${pause ? `waits at "${printStmt(pause.stmt, "").join(" ")}"` : "has ended"}`;
    throw new InternalError(`kernel "${this.kernel.name}": ${who} diverge: ${place(first!)}, ${place(other)}`);
  }
}

const arraysOf = (kernel: Kernel, space: string): Record<string, Float64Array> =>
  Object.fromEntries(kernel.arrays.filter((a) => a.space === space).map((a) => [a.name, new Float64Array(a.length)]));

type Numbers = Readonly<Record<string, number>>;

const indexCodes = new WeakMap<Expr, (sizes: Numbers, variables: Numbers) => number>();

/**
 * The value of an index expression, such as a grid dimension, that depends on sizes and the given variables only. Throws
 * InternalError for one that is not given.
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
  for (let k = 0; k < z!; k++) {
    for (let j = 0; j < y!; j++) {
      for (let i = 0; i < x!; i++) new Workgroup(kernel, [i, j, k], buffers, sizes, lanes).run();
    }
  }
}
