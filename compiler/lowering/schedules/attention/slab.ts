/** Stages vectors of one side in workgroup memory, one per line. */
import { type ArrayDecl, cast, construct, type Expr, int, type Stmt } from "../../../kernel/index.ts";
import { add, div, lt, mod, mul } from "../../../kernel/simplify.ts";
import type { Lowering } from "../../kernel.ts";

export interface Slab {
  readonly array: ArrayDecl & { readonly width: 4 | 8; readonly dtype: "f16" | "f32" };
  /** Line pitch in accesses, and the offset of the first access. */
  readonly pitch: number;
  readonly offset: number;
}

/** Line pitch in 16-byte accesses: odd, so that neighbouring lines start in different banks. */
export const bankFreePitch = (elements: number, width: number): number => 2 * Math.floor(elements / width / 2) + 1;

export const slabArray = (name: string, dtype: "f16" | "f32", accesses: number): Slab["array"] => {
  const width = dtype === "f16" ? 8 : 4;
  return { name, dtype, width, length: accesses * width, space: "workgroup" };
};

/** A thread's loads and its writes to the slab; between the two, other threads may still read the slab. */
export interface SlabStaging {
  readonly loads: readonly Stmt[];
  readonly sets: readonly Stmt[];
}

/** Stages `lines` of `elements` each, with coalesced accesses: neighbouring threads read neighbouring memory. */
export function stageInSlab(
  k: Lowering,
  { array, pitch, offset }: Slab,
  { lines, elements }: { readonly lines: number; readonly elements: number },
  { lid, threads }: { readonly lid: Expr; readonly threads: number },
  valueAt: (line: Expr, e: Expr) => Expr,
): SlabStaging {
  const { width, dtype, name } = array;
  const perLine = elements / width;
  const [loads, sets]: [Stmt[], Stmt[]] = [[], []];
  for (let turn = 0; turn * threads < lines * perLine; turn++) {
    const at = add(lid, int(turn * threads));
    const [line, access] = [div(at, int(perLine)), mod(at, int(perLine))];
    const parts = Array.from({ length: width }, (_, u) =>
      narrowed(valueAt(line, add(mul(access, int(width)), int(u))), dtype),
    );
    const { target, stmt } = k.let("l", construct(width, parts));
    loads.push(stmt);
    const set: Stmt = {
      kind: "set",
      array: name,
      index: add(int(offset), add(mul(line, int(pitch)), access)),
      value: target,
    };
    const inside = lt(at, int(lines * perLine));
    sets.push(inside.kind === "const" ? set : { kind: "if", condition: inside, body: [set] });
  }
  return { loads, sets };
}

/** A value converted to the dtype; a widening cast from that dtype is undone instead. */
const narrowed = (e: Expr, dtype: "f16" | "f32"): Expr =>
  e.kind === "cast" && e.dtype === "f32" && e.a.dtype === dtype ? e.a : cast(e, dtype);
