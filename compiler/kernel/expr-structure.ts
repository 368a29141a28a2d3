/** The structure of expressions: their operands, rebuilding with others, and structural equality. */
import type { Const, Expr, Size, Var } from "./expr.ts";

/** The operands of an expression, in order. */
export function children(e: Expr): readonly Expr[] {
  switch (e.kind) {
    case "const":
    case "var":
    case "size":
      return [];
    case "arith":
    case "compare":
    case "logic":
      return [e.a, e.b];
    case "op":
    case "builtin":
      return e.args;
    case "load":
    case "element":
      return [e.index];
    case "construct":
      return e.parts;
    case "component":
      return [e.vector];
    case "select":
      return [e.condition, e.yes, e.no];
    case "cast":
      return [e.a];
    case "subgroup":
      return e.lane ? [e.value, e.lane] : [e.value];
    case "any":
      return [e.value];
  }
}

/** The same expression with other operands, given in the order of `children`. */
export function withChildren(e: Expr, c: readonly Expr[]): Expr {
  switch (e.kind) {
    case "const":
    case "var":
    case "size":
      return e;
    case "arith":
    case "compare":
    case "logic":
      return { ...e, a: c[0]!, b: c[1]! };
    case "op":
    case "builtin":
      return { ...e, args: c };
    case "load":
    case "element":
      return { ...e, index: c[0]! };
    case "construct":
      return { ...e, parts: c };
    case "component":
      return { ...e, vector: c[0]! };
    case "select":
      return { ...e, condition: c[0]!, yes: c[1]!, no: c[2]! };
    case "cast":
      return { ...e, a: c[0]! };
    case "subgroup":
      return { ...e, value: c[0]!, ...(c[1] && { lane: c[1] }) };
    case "any":
      return { ...e, value: c[0]! };
  }
}

/** Whether two expressions are structurally equal. */
export function sameExpr(a: Expr, b: Expr): boolean {
  if (a === b) return true;
  if (a.kind !== b.kind || a.dtype !== b.dtype) return false;
  switch (a.kind) {
    case "const":
      return a.value === (b as Const).value;
    case "var":
    case "size":
      return a.name === (b as Var | Size).name;
    case "arith":
    case "compare":
    case "logic": {
      const other = b as typeof a;
      return a.op === other.op && sameExpr(a.a, other.a) && sameExpr(a.b, other.b);
    }
    default:
      return keyOf(a) === keyOf(b);
  }
}

/** Keys made lately. A bounded Map: with many short-lived keys, a WeakMap makes each collection slow. */
const keys = new Map<Expr, string>();
const mostKeys = 2 ** 15;

/** A key that is equal for two expressions exactly if they are structurally equal. */
export function keyOf(e: Expr): string {
  const known = keys.get(e);
  if (known !== undefined) return known;
  const key =
    head(e) + (e.kind === "const" || e.kind === "var" || e.kind === "size" ? "" : `(${children(e).map(keyOf)})`);
  if (keys.size >= mostKeys) keys.clear();
  keys.set(e, key);
  return key;
}

/** The key of an expression without its operands. */
export function head(e: Expr): string {
  switch (e.kind) {
    case "const":
      return `${e.value}:${e.dtype}`;
    case "var":
      return e.name;
    case "size":
      return `$${e.name}`;
    case "arith":
    case "compare":
    case "logic":
      return `${e.op}:${e.dtype}`;
    case "op":
      return `@${e.op}:${e.dtype}`;
    case "builtin":
      return `${e.fn}:${e.dtype}`;
    case "load":
      return `load ${e.buffer}`;
    case "construct":
      return `vector ${e.width}:${e.dtype}`;
    case "component":
      return `lane ${e.lane}`;
    case "element":
      return `element ${e.array}`;
    case "select":
      return "select";
    case "cast":
      return `cast ${e.dtype}`;
    case "subgroup":
      return `subgroup ${e.op}`;
    case "any":
      return "any";
  }
}
