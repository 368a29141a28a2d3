/** Interprets collective operations of a subgroup: exchanges between lanes, and operations on matrix fragments. */
import { InternalError } from "../diagnostics/error.ts";
import { fetch, type KernelArrays, roundTo, type Value, write } from "./evaluate.ts";
import type { SubgroupCall } from "./expr.ts";
import { type FragmentDecl, fragmentsOf, type Kernel, type MatrixPlace, type Stmt } from "./kernel.ts";
import type { Watch } from "./races.ts";

/** A fragment with its elements in row-major order. */
interface Fragment extends FragmentDecl {
  readonly data: Float64Array;
}

export type Fragments = ReadonlyMap<string, Fragment>;

export const newFragments = (kernel: Kernel): Fragments =>
  new Map(fragmentsOf(kernel).map((f) => [f.name, { ...f, data: new Float64Array(f.rows * f.columns) }]));

export interface SubgroupState {
  readonly kernel: Kernel;
  readonly fragments: Fragments;
  readonly memory: KernelArrays;
  readonly watch: Watch;
}

/**
 * Executes one statement for a subgroup, given each lane's operands; returns each lane's result, if there is one.
 * Throws InternalError if lanes differ in an operand that must be uniform.
 */
export function collectiveResults(
  stmt: Stmt,
  operands: readonly (readonly Value[])[],
  { kernel, fragments, memory, watch }: SubgroupState,
): readonly (Value | undefined)[] {
  const uniform = (at: number, what: string): number => {
    const value = operands[0]![at] as number;
    if (operands.every((o) => o[at] === value)) return value;
    throw new InternalError(`kernel "${kernel.name}": the lanes of a subgroup have different values for ${what}`);
  };
  const fragment = (name: string) => fragments.get(name)!;
  switch (stmt.kind) {
    case "let":
    case "var":
    case "assign":
      return exchange(stmt.value as SubgroupCall, operands);
    case "fragment_fill":
      fragment(stmt.fragment).data.fill(uniform(0, "the fill value of a fragment"));
      return [];
    case "fragment_load":
    case "fragment_store": {
      const place = stmt.kind === "fragment_load" ? stmt.from : stmt.to;
      const f = fragment(stmt.fragment);
      const address = addressing(place, uniform(0, "an offset"), uniform(1, "a stride"), kernel);
      const array = memory[place.array]!;
      for (let at = 0; at < f.data.length; at++) {
        const index = address(Math.floor(at / f.columns), at % f.columns);
        watch(place.array, index, stmt.kind === "fragment_store");
        if (stmt.kind === "fragment_load") f.data[at] = fetch(array, index, place.array);
        else write(array, index, f.data[at]!, place.array);
      }
      return [];
    }
    case "fragment_multiply":
      multiply(fragment(stmt.left), fragment(stmt.right), fragment(stmt.fragment));
      return [];
    default:
      throw new InternalError(`${stmt.kind} is not a subgroup operation`);
  }
}

/** A function from row and column of a matrix to the element's index in memory. */
function addressing({ array, order }: MatrixPlace, offset: number, stride: number, kernel: Kernel) {
  const width = [...kernel.buffers, ...kernel.arrays].find((d) => d.name === array)!.width ?? 1;
  return (row: number, column: number) =>
    order === "row_major" ? (offset + row * stride) * width + column : (offset + column * stride) * width + row;
}

/** Sums exact products and rounds once; the order and precision of the sum differ between hardware. */
function multiply(left: Fragment, right: Fragment, result: Fragment): void {
  for (let m = 0; m < result.rows; m++) {
    for (let n = 0; n < result.columns; n++) {
      let sum = result.data[m * result.columns + n]!;
      for (let k = 0; k < left.columns; k++) {
        sum += left.data[m * left.columns + k]! * right.data[k * right.columns + n]!;
      }
      result.data[m * result.columns + n] = roundTo(sum, result.dtype);
    }
  }
}

const folds = {
  add: (a: number, b: number) => a + b,
  max: Math.max,
  min: Math.min,
};

/** The result of a subgroup operation for each lane; vectors are handled elementwise. */
function exchange(call: SubgroupCall, operands: readonly (readonly Value[])[]): readonly Value[] {
  const values = operands.map((o) => o[0]!);
  const width = call.width;
  if (!width) return exchangeScalars(call, values as number[], operands);
  const parts = Array.from({ length: width }, (_, i) =>
    exchangeScalars(
      call,
      values.map((v) => (v as readonly number[])[i]!),
      operands,
    ),
  );
  return values.map((_, lane) => parts.map((p) => p[lane]!));
}

function exchangeScalars(
  { op, dtype }: SubgroupCall,
  values: readonly number[],
  operands: readonly (readonly Value[])[],
): number[] {
  const from = (lane: number): number => {
    if (values[lane] === undefined) throw new InternalError(`a subgroup of ${values.length} lanes has no lane ${lane}`);
    return values[lane];
  };
  switch (op) {
    case "broadcast":
    case "shuffle":
      return values.map((_, i) => from(operands[i]![1] as number));
    case "shuffle_xor":
      return values.map((_, i) => from(i ^ (operands[i]![1] as number)));
    case "exclusive_add": {
      let sum = 0;
      return values.map((v) => {
        const before = sum;
        sum = roundTo(sum + v, dtype);
        return before;
      });
    }
    default: {
      const total = values.reduce((a, b) => roundTo(folds[op](a, b), dtype));
      return values.map(() => total);
    }
  }
}
