/** Interprets a kernel in plain JavaScript, thread by thread: the reference that tests compare generated code with. */
import { InternalError } from "../diagnostics/error.ts";
import { collectiveResults, type Fragments, newFragments } from "./collective.ts";
import { computed, evaluate, type KernelArrays, type Thread, type Value, write } from "./evaluate.ts";
import { type Expr, widthOf } from "./expr.ts";
import { children } from "./expr-structure.ts";
import { expressions, type Kernel, type Stmt, type ThreadBuiltin, threadsOf } from "./kernel.ts";
import { printStmt } from "./print.ts";
import { Races, type Watch } from "./races.ts";

/** Parameters of the simulated machine. */
export interface Machine {
  /** Lanes per subgroup if the kernel does not require a size; default 32. */
  readonly subgroupSize?: number;
}

/** Where a thread waits for others: a barrier or a collective operation, with the thread's own operands. */
interface Pause {
  readonly stmt: Stmt;
  readonly operands: readonly Value[];
}

/** A thread as a coroutine: it yields at pauses and resumes with the result of the collective operation, if any. */
type Run = Generator<Pause, void, Value | undefined>;

/** The subgroup operation of a statement: always the whole value (verifyKernel), so a statement pauses at most once. */
const collectiveValue = (s: Stmt) =>
  (s.kind === "let" || s.kind === "var" || s.kind === "assign") && s.value.kind === "subgroup" ? s.value : undefined;

/** The workgroup_any of a statement. */
const askedOfAll = (s: Stmt) =>
  (s.kind === "let" || s.kind === "var" || s.kind === "assign") && s.value.kind === "any" ? s.value : undefined;

const isCollective = (s: Stmt): boolean => s.kind.startsWith("fragment_") || collectiveValue(s) !== undefined;

const pausing = new WeakMap<Stmt, boolean>();

/** Whether a statement may make a thread wait for others. */
function pauses(s: Stmt): boolean {
  let known = pausing.get(s);
  if (known === undefined) {
    known =
      s.kind === "barrier" ||
      isCollective(s) ||
      askedOfAll(s) !== undefined ||
      ((s.kind === "for" || s.kind === "if") && s.body.some(pauses));
    pausing.set(s, known);
  }
  return known;
}

/** Runs statements; yields at each barrier and collective operation. */
function* run(body: readonly Stmt[], t: Thread): Run {
  for (const s of body) {
    if (!pauses(s)) runAlone(s, t);
    else if (s.kind === "if") {
      if (evaluate(s.condition, t)) yield* run(s.body, t);
    } else if (s.kind === "for") {
      const end = evaluate(s.to, t);
      for (let i = evaluate(s.from, t); i < end; i += s.step) {
        t.values.set(s.index.name, i);
        yield* run(s.body, t);
      }
    } else {
      const own = collectiveValue(s) ?? askedOfAll(s);
      const operands = own ? children(own) : expressions(s);
      const result = yield { stmt: s, operands: operands.map((e) => computed(e, t)) };
      if (own) t.values.set((s as Extract<Stmt, { kind: "let" }>).target.name, result!);
    }
  }
}

/** Runs a statement in which no thread waits. */
function runAlone(s: Stmt, t: Thread): void {
  switch (s.kind) {
    case "let":
    case "var":
    case "assign":
      t.values.set(s.target.name, computed(s.value, t));
      return;
    case "if":
      if (evaluate(s.condition, t)) for (const inner of s.body) runAlone(inner, t);
      return;
    case "for": {
      const end = evaluate(s.to, t);
      for (let i = evaluate(s.from, t); i < end; i += s.step) {
        t.values.set(s.index.name, i);
        for (const inner of s.body) runAlone(inner, t);
      }
      return;
    }
    case "store":
    case "set":
      put(s, t);
      return;
    default:
      throw new InternalError(`${s.kind} is not a statement of a single thread`);
  }
}

function put(s: Extract<Stmt, { kind: "store" | "set" }>, t: Thread): void {
  const [values, name] = s.kind === "store" ? [t.buffers[s.buffer]!, s.buffer] : [t.arrays[s.array]!, s.array];
  const first = (widthOf(s.value) ?? 1) * evaluate(s.index, t);
  const stored = computed(s.value, t);
  for (const [lane, v] of typeof stored === "number" ? [[0, stored] as const] : stored.entries()) {
    if (s.kind === "set") t.watch?.(name, first + lane, true);
    write(values, first + lane, v, name);
  }
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

  constructor(kernel: Kernel, wid: readonly number[], buffers: KernelArrays, sizes: Thread["sizes"], lanes: number) {
    this.kernel = kernel;
    const arraysOf = (space: string) =>
      Object.fromEntries(
        kernel.arrays.filter((a) => a.space === space).map((a) => [a.name, new Float64Array(a.length)]),
      );
    const shared = arraysOf("workgroup");
    this.memory = { ...buffers, ...shared };
    this.races = new Races(kernel, threadsOf(kernel));
    const begin = (lid: number): Running => {
      const builtins: Record<ThreadBuiltin, number> = {
        wid_x: wid[0]!,
        wid_y: wid[1]!,
        wid_z: wid[2]!,
        lid,
        subgroup_id: Math.floor(lid / lanes),
        lane: lid % lanes,
        subgroup_size: lanes,
      };
      const arrays = { ...shared, ...arraysOf("private") };
      const values = new Map<string, Value>(Object.entries(builtins));
      const watch = this.races.watch({ kind: "thread", index: lid });
      const thread: Thread = { values, arrays, buffers, sizes, watch };
      return { lid, run: run(kernel.body, thread), pause: undefined };
    };
    for (let first = 0; first < threadsOf(kernel); first += lanes) {
      const count = Math.min(lanes, threadsOf(kernel) - first);
      const threads = Array.from({ length: count }, (_, i) => begin(first + i));
      const watch = this.races.watch({ kind: "subgroup", index: first / lanes });
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

/** The value of an index expression that depends on sizes only, such as a grid dimension. */
export const evaluateIndex = (e: Expr, sizes: Readonly<Record<string, number>> = {}): number =>
  e.kind === "const" ? e.value : evaluate(e, { values: new Map(), arrays: {}, buffers: {}, sizes });

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
