/**
 * Finds blocks that a mask hides entirely, by interval analysis of the mask's expression: over a range of rows and one
 * of columns, an expression built from ops that are monotonic in each operand takes its extremes at the ends of the
 * ranges. A causal mask hides half of the blocks; a prefix or padding mask hides all blocks past its end.
 */
import { opRecord } from "../../../ir/op.ts";
import { bool, cast, children, type Expr, int, withChildren } from "../../../kernel/index.ts";
import { substitute } from "../../../kernel/simplify.ts";

/** The ranges of indices, by name. */
export type Box = ReadonlyMap<string, { readonly low: Expr; readonly high: Expr }>;

/** The lower or upper bound of an expression. */
type End = "low" | "high";
const other = { low: "high", high: "low" } as const;

/** Monotonicity of the kernel IR's own operations in each operand: 1 increasing, -1 decreasing. */
const ownDirections: ReadonlyMap<string, readonly (1 | -1)[]> = new Map([
  ["add", [1, 1]],
  ["sub", [1, -1]],
  ["min", [1, 1]],
  ["max", [1, 1]],
  ["lt", [-1, 1]],
  ["le", [-1, 1]],
  ["and", [1, 1]],
  ["or", [1, 1]],
]);

const isBoxed = (e: Expr, box: Box): boolean =>
  e.kind === "var" ? box.has(e.name) : children(e).some((c) => isBoxed(c, box));

/** Whether a mask may show anything within a box, free of the box's indices; undefined if it always may. */
export function mayBeVisible(mask: Expr, box: Box): Expr | undefined {
  const found = boundOf(mask, "high", box);
  return found === undefined || found.kind === "const" ? undefined : found;
}

/** The upper or lower bound of an expression within a box; undefined if unknown. */
function boundOf(e: Expr, end: End, box: Box): Expr | undefined {
  if (!isBoxed(e, box)) return e;
  const found = e.kind === "var" ? box.get(e.name)![end] : ofOperation(e, end, box);
  return found ?? (e.dtype === "bool" ? bool(end === "high") : undefined);
}

function ofOperation(e: Expr, end: End, box: Box): Expr | undefined {
  const directions = directionsOf(e);
  if (!directions) return e.kind === "arith" ? ofQuotient(e, end, box) : undefined;
  const bounds = children(e).map((c, i) => boundOf(c, directions[i] === 1 ? end : other[end], box));
  if (bounds.some((b) => b === undefined)) return undefined;
  const operands = bounds as Expr[];
  if (e.kind === "cast") return cast(operands[0]!, e.dtype);
  const whole = withChildren(e, operands);
  // Index arithmetic is simplified during construction, so it is rebuilt with the new operands.
  return e.kind === "arith" && e.dtype === "i32" ? rebuilt(e, operands) : whole;
}

function directionsOf(e: Expr): readonly (1 | -1)[] | undefined {
  // Unsigned arithmetic wraps around at 0, so it is not monotonic.
  if (children(e).some((c) => c.dtype === "u32")) return undefined;
  switch (e.kind) {
    case "op":
      return opRecord(e.op).grows;
    case "arith":
    case "compare":
    case "logic": {
      const { op } = e;
      return ownDirections.get(op);
    }
    case "cast":
      return [1];
    default:
      return undefined;
  }
}

/** Arithmetic with a positive constant: a remainder lies in [0, n - 1], scaling is increasing. */
const remainders: ReadonlyMap<string, (n: number, end: End) => Expr> = new Map([
  ["mod", (n: number, end: End) => int(end === "low" ? 0 : n - 1)],
]);
const scalings: ReadonlySet<string> = new Set(["mul", "div"]);

/** Bounds of an index multiplied by, divided by, or modulo a positive constant. */
function ofQuotient(e: Extract<Expr, { kind: "arith" }>, end: End, box: Box): Expr | undefined {
  const { op, a, b } = e;
  if (b.kind !== "const" || b.value <= 0) return undefined;
  const remainder = remainders.get(op);
  if (remainder) return remainder(b.value, end);
  const bound = scalings.has(op) ? boundOf(a, end, box) : undefined;
  return bound && rebuilt(e, [bound, b]);
}

/** The same arithmetic on new operands, simplified. */
function rebuilt(e: Extract<Expr, { kind: "arith" }>, operands: readonly Expr[]): Expr {
  const names = ["a?", "b?"];
  const raw = { ...e, a: nameOf(names[0]!, operands[0]!), b: nameOf(names[1]!, operands[1]!) };
  return substitute(raw, new Map(names.map((n, i) => [n, operands[i]!])));
}

const nameOf = (name: string, like: Expr): Expr => ({
  kind: "var",
  name,
  dtype: like.dtype,
  range: { min: -Infinity, max: Infinity },
});
