/**
 * Translates the expressions of a kernel into JavaScript functions: operations, registers and memory are resolved once,
 * not each time that a thread evaluates them.
 */
import { InternalError } from "../diagnostics/error.ts";
import { fetch, functionOf, roundTo, type Values } from "./evaluate.ts";
import { type Expr, widthOf } from "./expr.ts";
import { children } from "./expr-structure.ts";
import type { ArrayRaces } from "./races.ts";

/** The state of a thread: registers and memory, by the places that `ExprCode` assigned to their names. */
export interface Frame {
  readonly scalars: Float64Array;
  readonly vectors: (readonly number[])[];
  /** Buffers and arrays. */
  readonly memory: readonly Values[];
  /** For arrays of the workgroup. */
  readonly races: readonly (ArrayRaces | undefined)[];
  /** Identifies the thread in `races`. */
  readonly accessor: number;
  readonly sizes: Readonly<Record<string, number>>;
}

export type ScalarCode = (t: Frame) => number;
export type VectorCode = (t: Frame) => readonly number[];

/** Names of one kind and their places, in the order of their first use. */
export class Places {
  private readonly places = new Map<string, number>();

  of(name: string): number {
    let place = this.places.get(name);
    if (place === undefined) this.places.set(name, (place = this.places.size));
    return place;
  }

  get names(): readonly string[] {
    return [...this.places.keys()];
  }
}

export class ExprCode {
  readonly scalars = new Places();
  readonly vectors = new Places();
  readonly memory = new Places();
  /** Expressions are shared: those of an unrolled loop, for example. */
  private readonly knownScalars = new Map<Expr, ScalarCode>();
  private readonly knownVectors = new Map<Expr, VectorCode>();

  /** The value of a scalar expression. Its function throws InternalError where memory is read out of bounds. */
  scalar(e: Expr): ScalarCode {
    let code = this.knownScalars.get(e);
    if (!code) this.knownScalars.set(e, (code = this.scalarCode(e)));
    return code;
  }

  /** The elements of a vector. Its function throws InternalError where memory is read out of bounds. */
  vector(e: Expr): VectorCode {
    let code = this.knownVectors.get(e);
    if (!code) this.knownVectors.set(e, (code = this.vectorCode(e)));
    return code;
  }

  private scalarCode(e: Expr): ScalarCode {
    switch (e.kind) {
      case "const": {
        const value = roundTo(e.value, e.dtype);
        return () => value;
      }
      case "var": {
        const place = this.scalars.of(e.name);
        return (t) => t.scalars[place]!;
      }
      case "size":
        return ({ sizes }) => {
          const size = sizes[e.name];
          if (size === undefined) throw new InternalError(`the size $${e.name} has no value`);
          return size;
        };
      case "load":
      case "element": {
        const read = this.read(e.kind === "load" ? e.buffer : e.array);
        const index = this.scalar(e.index);
        return (t) => read(t, index(t));
      }
      case "component": {
        const [vector, { lane }] = [this.vector(e.vector), e];
        return (t) => vector(t)[lane]!;
      }
      case "select": {
        const [condition, yes, no] = [this.scalar(e.condition), this.scalar(e.yes), this.scalar(e.no)];
        return (t) => (condition(t) ? yes(t) : no(t));
      }
      case "construct":
      case "subgroup":
      case "any":
        throw new InternalError(`${e.kind} is not a scalar that one thread computes`);
      default:
        return applied(
          functionOf(e),
          children(e).map((c) => this.scalar(c)),
        );
    }
  }

  private vectorCode(e: Expr): VectorCode {
    const width = widthOf(e)!;
    switch (e.kind) {
      case "var": {
        const place = this.vectors.of(e.name);
        return (t) => t.vectors[place]!;
      }
      case "load":
      case "element": {
        const read = this.read(e.kind === "load" ? e.buffer : e.array);
        const index = this.scalar(e.index);
        return (t) => {
          const first = width * index(t);
          const out = new Array<number>(width);
          for (let lane = 0; lane < width; lane++) out[lane] = read(t, first + lane);
          return out;
        };
      }
      case "construct": {
        const parts = e.parts.map((p) => this.scalar(p));
        return (t) => (parts.length === 1 ? new Array<number>(width).fill(parts[0]!(t)) : parts.map((p) => p(t)));
      }
      case "select": {
        const [condition, yes, no] = [this.scalar(e.condition), this.vector(e.yes), this.vector(e.no)];
        return (t) => (condition(t) ? yes(t) : no(t));
      }
      case "arith":
      case "compare":
      case "logic":
      case "op":
      case "builtin":
      case "cast":
        return elementwise(
          functionOf(e),
          width,
          children(e).map((c) => this.vector(c)),
        );
      default:
        throw new InternalError(`${e.kind} is not a vector that one thread computes`);
    }
  }

  /** Reads an element of a buffer or array. */
  private read(name: string): (t: Frame, index: number) => number {
    const place = this.memory.of(name);
    return ({ memory, races, accessor }, index) => {
      races[place]?.read(index, accessor);
      return fetch(memory[place]!, index, name);
    };
  }
}

function applied(f: (...operands: number[]) => number, operands: readonly ScalarCode[]): ScalarCode {
  const [a, b] = operands;
  if (operands.length === 1) return (t) => f(a!(t));
  if (operands.length === 2) return (t) => f(a!(t), b!(t));
  return (t) => f(...operands.map((operand) => operand(t)));
}

function elementwise(f: (...operands: number[]) => number, width: number, operands: readonly VectorCode[]): VectorCode {
  const [a, b] = operands;
  if (operands.length === 1) {
    return (t) => {
      const x = a!(t);
      const out = new Array<number>(width);
      for (let lane = 0; lane < width; lane++) out[lane] = f(x[lane]!);
      return out;
    };
  }
  if (operands.length === 2) {
    return (t) => {
      const [x, y] = [a!(t), b!(t)];
      const out = new Array<number>(width);
      for (let lane = 0; lane < width; lane++) out[lane] = f(x[lane]!, y[lane]!);
      return out;
    };
  }
  return (t) => {
    const all = operands.map((operand) => operand(t));
    return Array.from({ length: width }, (_, lane) => f(...all.map((x) => x[lane]!)));
  };
}
