/** Runs a kernel in plain JavaScript, thread by thread: what tests compare generated code with. */
import { InternalError } from "../diagnostics/error.ts";
import { castValue, type DType } from "../ir/dtype.ts";
import { opRecord } from "../ir/op.ts";
import type { Expr, Load4 } from "./expr.ts";
import type { Kernel, Stmt } from "./kernel.ts";

export type KernelArrays = Readonly<Record<string, { [i: number]: number; readonly length: number }>>;

interface Thread {
  readonly values: Map<string, number>;
  readonly arrays: Readonly<Record<string, Float64Array>>;
  readonly buffers: KernelArrays;
  readonly sizes: Readonly<Record<string, number>>;
}

const round = (v: number, dtype: DType) => (dtype === "f32" ? Math.fround(v) : dtype === "i32" ? v | 0 : v);

const arith = {
  add: (a: number, b: number) => a + b,
  sub: (a: number, b: number) => a - b,
  mul: (a: number, b: number) => a * b,
  div: (a: number, b: number) => a / b,
  mod: (a: number, b: number) => a % b,
  min: Math.min,
  max: Math.max,
};
const compares = {
  lt: (a: number, b: number) => a < b,
  le: (a: number, b: number) => a <= b,
  eq: (a: number, b: number) => a === b,
  ne: (a: number, b: number) => a !== b,
};
const builtins = {
  exp: Math.exp,
  log: Math.log,
  fma: (a: number, b: number, c: number) => a * b + c,
} as Record<string, (...v: number[]) => number>;

function fetch(values: { [i: number]: number; readonly length: number }, index: number, what: string): number {
  if (index < 0 || index >= values.length)
    throw new InternalError(`${what}[${index}] is outside 0 .. ${values.length - 1}`);
  return values[index]!;
}

/** The value of an expression for one thread; throws InternalError on a load outside its buffer. */
export function evaluate(e: Expr, t: Thread): number {
  switch (e.kind) {
    case "const":
      return round(e.value, e.dtype);
    case "var":
      return t.values.get(e.name)!;
    case "size":
      return t.sizes[e.name]!;
    case "arith": {
      const v = arith[e.op](evaluate(e.a, t), evaluate(e.b, t));
      return e.dtype === "i32" ? Math.trunc(v) : round(v, e.dtype);
    }
    case "compare":
      return compares[e.op](evaluate(e.a, t), evaluate(e.b, t)) ? 1 : 0;
    case "logic": {
      const [a, b] = [evaluate(e.a, t), evaluate(e.b, t)];
      return e.op === "and" ? a & b : a | b;
    }
    case "op":
      return round(Number(opRecord(e.op).scalar!(...e.args.map((a) => evaluate(a, t)))), e.dtype);
    case "builtin":
      return round(builtins[e.fn]!(...e.args.map((a) => evaluate(a, t))), e.dtype);
    case "load":
      return fetch(t.buffers[e.buffer]!, evaluate(e.index, t), e.buffer);
    case "component": {
      if (e.vector.kind === "var") return t.values.get(`${e.vector.name}.${e.lane}`)!;
      return lanes(e.vector as Load4, t)[e.lane]!;
    }
    case "load4":
      throw new InternalError("four elements at once have no value of one number");
    case "element":
      return fetch(t.arrays[e.array]!, evaluate(e.index, t), e.array);
    case "select":
      return evaluate(e.condition, t) ? evaluate(e.yes, t) : evaluate(e.no, t);
    case "cast":
      return round(castValue(evaluate(e.a, t), e.a.dtype, e.dtype), e.dtype);
  }
}

const lanes = (e: Load4, t: Thread): number[] => {
  const first = 4 * evaluate(e.index, t);
  return [0, 1, 2, 3].map((lane) => fetch(t.buffers[e.buffer]!, first + lane, e.buffer));
};

/** Binds a name; a let of four elements binds one name for each. */
function bindValue(name: string, value: Expr, t: Thread): void {
  if (value.kind === "load4") for (const [i, v] of lanes(value, t).entries()) t.values.set(`${name}.${i}`, v);
  else t.values.set(name, evaluate(value, t));
}

function write(target: { [i: number]: number; readonly length: number }, index: number, value: number): void {
  fetch(target, index, "store to ");
  target[index] = value;
}

/** Runs statements; yields at each barrier. */
function* run(body: readonly Stmt[], t: Thread): Generator<void> {
  for (const s of body) {
    if (s.kind === "let" || s.kind === "var" || s.kind === "assign") bindValue(s.target.name, s.value, t);
    else if (s.kind === "barrier") yield;
    else if (s.kind === "if") {
      if (evaluate(s.condition, t)) yield* run(s.body, t);
    } else if (s.kind === "for") {
      const end = evaluate(s.to, t);
      for (let i = evaluate(s.from, t); i < end; i += s.step) {
        t.values.set(s.index.name, i);
        yield* run(s.body, t);
      }
    } else if (s.kind === "store4") {
      const first = 4 * evaluate(s.index, t);
      for (const [i, value] of s.values.entries()) write(t.buffers[s.buffer]!, first + i, evaluate(value, t));
    } else {
      const target = s.kind === "store" ? t.buffers[s.buffer]! : t.arrays[s.array]!;
      write(target, evaluate(s.index, t), evaluate(s.value, t));
    }
  }
}

function runWorkgroup(
  kernel: Kernel,
  wid: readonly number[],
  buffers: KernelArrays,
  sizes: Readonly<Record<string, number>>,
) {
  const arraysOf = (space: string) =>
    Object.fromEntries(kernel.arrays.filter((a) => a.space === space).map((a) => [a.name, new Float64Array(a.length)]));
  const shared = arraysOf("workgroup");
  const threads = Array.from({ length: kernel.workgroup.reduce((n, s) => n * s, 1) }, (_, lid) => {
    const values = new Map([
      ["wid_x", wid[0]!],
      ["wid_y", wid[1]!],
      ["wid_z", wid[2]!],
      ["lid", lid],
    ]);
    return run(kernel.body, { values, arrays: { ...shared, ...arraysOf("private") }, buffers, sizes });
  });
  for (let running = threads; running.length > 0; ) running = running.filter((t) => !t.next().done);
}

/** The value of an index expression of sizes alone, such as those of a grid. */
export const evaluateIndex = (e: Expr, sizes: Readonly<Record<string, number>> = {}): number =>
  e.kind === "const" ? e.value : evaluate(e, { values: new Map(), arrays: {}, buffers: {}, sizes });

/** Runs every workgroup of a kernel over arrays named as its buffers, which it writes in place. */
export function interpretKernel(
  kernel: Kernel,
  buffers: KernelArrays,
  sizes: Readonly<Record<string, number>> = {},
): void {
  const [x, y, z] = kernel.grid.map((g) => evaluateIndex(g, sizes));
  for (let k = 0; k < z!; k++) {
    for (let j = 0; j < y!; j++) {
      for (let i = 0; i < x!; i++) runWorkgroup(kernel, [i, j, k], buffers, sizes);
    }
  }
}
