/** Translates the statements of a kernel into JavaScript functions, and threads into coroutines. */
import { InternalError } from "../diagnostics/error.ts";
import { type Value, write } from "./evaluate.ts";
import { type Expr, type Var, widthOf } from "./expr.ts";
import { ExprCode, type Frame } from "./expr-code.ts";
import { children } from "./expr-structure.ts";
import { expressions, type Kernel, type Stmt } from "./kernel.ts";

/** Where a thread waits for others: a barrier or a collective operation, with the thread's own operands. */
export interface Pause {
  readonly stmt: Stmt;
  readonly operands: readonly Value[];
}

/** A thread as a coroutine: it yields at pauses and resumes with the result of the collective operation, if any. */
export type Run = Generator<Pause, void, Value | undefined>;

/** A statement in which no thread waits, or one in which it may. */
type Step =
  | { readonly waits: false; readonly run: (t: Frame) => void }
  | { readonly waits: true; readonly run: (t: Frame) => Run };

/** A kernel's threads as coroutines, and the names of what a frame of theirs holds, by place. */
export interface KernelCode {
  readonly scalars: readonly string[];
  readonly vectors: readonly string[];
  readonly memory: readonly string[];
  readonly run: (t: Frame) => Run;
  /** Runs a thread to its end, where no thread ever waits. */
  readonly alone: ((t: Frame) => void) | undefined;
}

/** The subgroup operation of a statement: always the whole value (verifyKernel), so a statement pauses at most once. */
const collectiveValue = (s: Stmt) => (isBinding(s) && s.value.kind === "subgroup" ? s.value : undefined);

/** The workgroup_any of a statement. */
export const askedOfAll = (s: Stmt) => (isBinding(s) && s.value.kind === "any" ? s.value : undefined);

export const isCollective = (s: Stmt): boolean => s.kind.startsWith("fragment_") || collectiveValue(s) !== undefined;

type Binding = Extract<Stmt, { kind: "let" | "var" | "assign" }>;

const isBinding = (s: Stmt): s is Binding => s.kind === "let" || s.kind === "var" || s.kind === "assign";

const codes = new WeakMap<Kernel, KernelCode>();

export function codeOf(kernel: Kernel): KernelCode {
  let code = codes.get(kernel);
  if (!code) {
    const exprs = new ExprCode();
    const steps = new StmtCode(exprs).steps(kernel.body);
    const [scalars, vectors, memory] = [exprs.scalars.names, exprs.vectors.names, exprs.memory.names];
    const each = runsAlone(steps);
    const alone = each && ((t: Frame) => each.forEach((step) => void step(t)));
    codes.set(kernel, (code = { scalars, vectors, memory, run: (t) => runAll(steps, t), alone }));
  }
  return code;
}

/** Runs statements; yields at each barrier and collective operation. */
function* runAll(steps: readonly Step[], t: Frame): Run {
  for (const step of steps) {
    if (step.waits) yield* step.run(t);
    else step.run(t);
  }
}

class StmtCode {
  private readonly exprs: ExprCode;

  constructor(exprs: ExprCode) {
    this.exprs = exprs;
  }

  steps(body: readonly Stmt[]): readonly Step[] {
    return body.map((s) => this.step(s));
  }

  private step(s: Stmt): Step {
    if (s.kind === "for") return this.loop(s);
    if (s.kind === "if") return this.branch(s);
    if (s.kind === "barrier" || isCollective(s) || askedOfAll(s)) return { waits: true, run: this.pause(s) };
    if (s.kind === "store" || s.kind === "set") return { waits: false, run: this.put(s) };
    if (isBinding(s)) return { waits: false, run: this.assignment(s) };
    throw new InternalError(`${s.kind} is not a statement of a single thread`);
  }

  private loop({ index, from, to, step, body }: Extract<Stmt, { kind: "for" }>): Step {
    const [first, end, steps] = [this.exprs.scalar(from), this.exprs.scalar(to), this.steps(body)];
    const place = this.exprs.scalars.of(index.name);
    const alone = runsAlone(steps);
    if (alone) {
      const run = (t: Frame) => {
        const last = end(t);
        for (let i = first(t); i < last; i += step) {
          t.scalars[place] = i;
          for (const each of alone) each(t);
        }
      };
      return { waits: false, run };
    }
    const run = function* (t: Frame): Run {
      const last = end(t);
      for (let i = first(t); i < last; i += step) {
        t.scalars[place] = i;
        yield* runAll(steps, t);
      }
    };
    return { waits: true, run };
  }

  private branch({ condition, body }: Extract<Stmt, { kind: "if" }>): Step {
    const [holds, steps] = [this.exprs.scalar(condition), this.steps(body)];
    const alone = runsAlone(steps);
    if (alone) {
      const run = (t: Frame) => {
        if (holds(t)) for (const each of alone) each(t);
      };
      return { waits: false, run };
    }
    const run = function* (t: Frame): Run {
      if (holds(t)) yield* runAll(steps, t);
    };
    return { waits: true, run };
  }

  private pause(s: Stmt): (t: Frame) => Run {
    const own = collectiveValue(s) ?? askedOfAll(s);
    const operands = (own ? children(own) : expressions(s)).map((e) => this.value(e));
    const assign = own && this.assign((s as Binding).target);
    return function* (t) {
      const result = yield { stmt: s, operands: operands.map((value) => value(t)) };
      assign?.(t, result!);
    };
  }

  private assignment({ target, value }: Binding): (t: Frame) => void {
    if (widthOf(value)) {
      const [place, vector] = [this.exprs.vectors.of(target.name), this.exprs.vector(value)];
      return (t) => void (t.vectors[place] = vector(t));
    }
    const [place, scalar] = [this.exprs.scalars.of(target.name), this.exprs.scalar(value)];
    return (t) => void (t.scalars[place] = scalar(t));
  }

  private assign(target: Var): (t: Frame, value: Value) => void {
    if (target.width) {
      const place = this.exprs.vectors.of(target.name);
      return (t, value) => void (t.vectors[place] = value as readonly number[]);
    }
    const place = this.exprs.scalars.of(target.name);
    return (t, value) => void (t.scalars[place] = value as number);
  }

  private put(s: Extract<Stmt, { kind: "store" | "set" }>): (t: Frame) => void {
    const name = s.kind === "store" ? s.buffer : s.array;
    const [place, width] = [this.exprs.memory.of(name), widthOf(s.value)];
    const [index, value] = [this.exprs.scalar(s.index), this.value(s.value)];
    const putAt = ({ memory, races, accessor }: Frame, at: number, v: number) => {
      races[place]?.write(at, accessor);
      write(memory[place]!, at, v, name);
    };
    if (!width) return (t) => putAt(t, index(t), value(t) as number);
    return (t) => {
      const first = width * index(t);
      for (const [lane, v] of (value(t) as readonly number[]).entries()) putAt(t, first + lane, v);
    };
  }

  private value(e: Expr): (t: Frame) => Value {
    return widthOf(e) ? this.exprs.vector(e) : this.exprs.scalar(e);
  }
}

/** The functions of steps none of which waits. */
function runsAlone(steps: readonly Step[]): readonly ((t: Frame) => void)[] | undefined {
  const alone = steps.flatMap((s) => (s.waits ? [] : [s.run]));
  return alone.length === steps.length ? alone : undefined;
}
