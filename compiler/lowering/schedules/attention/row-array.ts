/** A private array with one vector per row of a thread, filled and read in loops to keep the generated code short. */
import {
  type ArrayDecl,
  component,
  construct,
  type Expr,
  element,
  indexVar,
  int,
  type Stmt,
} from "../../../kernel/index.ts";
import { add, div, laneOf, mul } from "../../../kernel/simplify.ts";

/** A vector as a function from flat element index to value. */
export type Vector = (e: Expr) => Expr;

export class RowArray {
  readonly array: ArrayDecl;
  private readonly length: number;
  private readonly width: 1 | 4;

  /** `length` is the vector length of one row. */
  constructor(name: string, rows: number, length: number) {
    this.length = length;
    this.width = length % 4 === 0 ? 4 : 1;
    this.array = { name, dtype: "f32", length: rows * length, ...(this.width > 1 && { width: 4 }), space: "private" };
  }

  /** The vector of a row. */
  of(row: Expr): Vector {
    return (e) => {
      const index = this.address(row, e);
      if (this.width === 1) return element(this.array.name, "f32", index);
      const { base, lane } = laneOf(index, 4)!;
      return component(element(this.array.name, "f32", div(base, int(4)), 4), lane);
    };
  }

  /** Sets the vector of a row, fully unrolled. */
  set(row: Expr, vector: Vector): Stmt[] {
    return Array.from({ length: this.length / this.width }, (_, i) => this.setAccess(row, int(i), vector));
  }

  /** Sets the vector of a row in a loop. */
  fill(counter: string, row: Expr, vector: Vector): Stmt {
    const turns = this.length / this.width;
    const index = indexVar(counter, turns);
    const body = [this.setAccess(row, index, vector)];
    return { kind: "for", index, from: int(0), to: int(turns), step: 1, body };
  }

  private address(row: Expr, e: Expr): Expr {
    return add(mul(row, int(this.length)), e);
  }

  private setAccess(row: Expr, access: Expr, vector: Vector): Stmt {
    const first = mul(access, int(this.width));
    const elements = Array.from({ length: this.width }, (_, u) => vector(add(first, int(u))));
    const value = this.width === 1 ? elements[0]! : construct(4, elements);
    return { kind: "set", array: this.array.name, index: div(this.address(row, first), int(this.width)), value };
  }
}
