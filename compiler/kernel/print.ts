/** Prints kernels as text, for golden tests and debugging; parseKernel reads it back. Grammar: docs/kernels.md. */
import { counterRange, rebound, statedRange, threadVars } from "./bounds.ts";
import { type Expr, printRegisterType, type Range, rangeOf, sizeSymbol, unbounded, type Var } from "./expr.ts";
import { children } from "./expr-structure.ts";
import { requiredFeatures } from "./features.ts";
import { fragmentsOf, type Kernel, type MatrixPlace, type Stmt, statements } from "./kernel.ts";
import { sizesOf } from "./sizes.ts";

/** The symbols of binary operations. */
export const infix = {
  add: "+",
  sub: "-",
  mul: "*",
  div: "/",
  mod: "%",
  lt: "<",
  le: "<=",
  eq: "==",
  ne: "!=",
  and: "&",
  or: "|",
} as const;

/** A number; prints `-0`, `inf` and `nan` for floats. */
function number(value: number): string {
  if (Number.isNaN(value)) return "nan";
  const sign = value < 0 || Object.is(value, -0) ? "-" : "";
  return `${sign}${Math.abs(value) === Infinity ? "inf" : Math.abs(value)}`;
}

function constant(value: number, dtype: Expr["dtype"]): string {
  if (dtype === "bool") return value ? "true" : "false";
  return dtype === "i32" ? number(value) : `${number(value)}:${dtype}`;
}

/** `x` to `w`, or a number for vectors of more than four elements. */
const laneName = (lane: number, width: number): string => (width > 4 ? String(lane) : "xyzw"[lane]!);

export function printExpr(e: Expr): string {
  const call = (name: string, args: readonly Expr[]) => `${name}(${args.map(printExpr).join(", ")})`;
  switch (e.kind) {
    case "const":
      return constant(e.value, e.dtype);
    case "var":
      return e.name;
    case "size":
      return `$${e.name}`;
    case "arith":
      if (e.op === "min" || e.op === "max") return call(e.op, [e.a, e.b]);
      return `(${printExpr(e.a)} ${infix[e.op]} ${printExpr(e.b)})`;
    case "compare":
    case "logic":
      return `(${printExpr(e.a)} ${infix[e.op]} ${printExpr(e.b)})`;
    case "op":
      return call(`@${e.op}`, e.args);
    case "builtin":
      return call(e.fn, e.args);
    case "load":
      return `${e.buffer}[${printExpr(e.index)}]`;
    case "construct":
      return call(printRegisterType(e), e.parts);
    case "component":
      return `${printExpr(e.vector)}.${laneName(e.lane, ("width" in e.vector && e.vector.width) || 4)}`;
    case "element":
      return `${e.array}[${printExpr(e.index)}]`;
    case "select":
      return `(${printExpr(e.condition)} ? ${printExpr(e.yes)} : ${printExpr(e.no)})`;
    case "cast":
      return call(printRegisterType(e), [e.a]);
    case "subgroup":
      return call(`subgroup_${e.op}`, children(e));
    case "any":
      return call("workgroup_any", [e.value]);
  }
}

/** ` in 0 .. 8`, a half-open range; ` in 0 .. inf` if it is unbounded. */
const printRange = (r: Range | undefined): string => (r ? ` in ${number(r.min)} .. ${number(r.max + 1)}` : "");

const printPlace = ({ array, offset, stride, order }: MatrixPlace): string =>
  `${array}[${printExpr(offset)}] stride ${printExpr(stride)} ${order}`;

/** The lines of a statement; `bounds` gives the bounds that a binding must state. */
export function printStmt(
  s: Stmt,
  indent: string,
  boundsOf: (s: Stmt) => Range | undefined = () => undefined,
): string[] {
  const nested = (body: readonly Stmt[]) => body.flatMap((t) => printStmt(t, `${indent}  `, boundsOf));
  switch (s.kind) {
    case "let":
    case "var": {
      const type = `${printRegisterType(s.target)}${printRange(boundsOf(s))}`;
      return [`${indent}${s.kind} ${s.target.name}: ${type} = ${printExpr(s.value)}`];
    }
    case "assign":
      return [`${indent}${s.target.name} = ${printExpr(s.value)}`];
    case "for": {
      const step = s.step === 1 ? "" : ` by ${s.step}`;
      const bounds = boundsOf(s);
      const counter = bounds ? `${s.index.name}: i32${printRange(bounds)} =` : `${s.index.name} in`;
      return [
        `${indent}for ${counter} ${printExpr(s.from)} .. ${printExpr(s.to)}${step} {`,
        ...nested(s.body),
        `${indent}}`,
      ];
    }
    case "if":
      return [`${indent}if ${printExpr(s.condition)} {`, ...nested(s.body), `${indent}}`];
    case "store":
      return [`${indent}${s.buffer}[${printExpr(s.index)}] = ${printExpr(s.value)}`];
    case "set":
      return [`${indent}${s.array}[${printExpr(s.index)}] = ${printExpr(s.value)}`];
    case "barrier":
      return [`${indent}barrier${s.buffers ? " buffers" : ""}`];
    case "fragment_fill":
      return [`${indent}fill ${s.fragment} with ${printExpr(s.value)}`];
    case "fragment_load":
      return [`${indent}load ${s.fragment} from ${printPlace(s.from)}`];
    case "fragment_store":
      return [`${indent}store ${s.fragment} to ${printPlace(s.to)}`];
    case "fragment_multiply":
      return [`${indent}${s.fragment} += ${s.left} * ${s.right}`];
  }
}

/** The bounds of names that are not implied by the text. */
function statedBounds(k: Kernel): Map<Stmt, Range> {
  const stated = new Map<Stmt, Range>();
  const names = new Map<string, Var>(Object.entries(threadVars(k)));
  for (const s of statements(k.body)) {
    if (s.kind !== "let" && s.kind !== "var" && s.kind !== "for") continue;
    const target = s.kind === "for" ? s.index : s.target;
    if (target.dtype !== "i32") continue;
    const of = (e: Expr) => rebound(e, names);
    // A var may be assigned values outside the bounds of its first one, so nothing is implied.
    const implied =
      s.kind === "for" ? counterRange(of(s.from), of(s.to)) : s.kind === "let" ? rangeOf(of(s.value)) : unbounded;
    const range = statedRange(target, implied);
    if (range) stated.set(s, range);
    names.set(target.name, { ...target, range: range ?? implied });
  }
  return stated;
}

function printSizes(k: Kernel): string[] {
  if (k.sizes.length === 0) return [];
  const found = sizesOf(k);
  const one = (name: string) => {
    const usual = sizeSymbol(name);
    const { range } = found.get(name) ?? usual;
    const own = range.min !== usual.range.min || range.max !== usual.range.max;
    return `$${name}${own ? printRange(range) : ""}`;
  };
  return [`  sizes ${k.sizes.map(one).join(", ")}`];
}

const by = (width: number | undefined): string => (width ? ` by ${width}` : "");
const of = (reserved?: number): string => (reserved === undefined ? "" : ` of ${reserved}`);

/** The text of a kernel, one line per statement; equal kernels have equal text. */
export function printKernel(k: Kernel): string {
  const features = requiredFeatures(k);
  const bounds = statedBounds(k);
  const subgroup = k.subgroupSize === undefined ? "" : ` subgroup ${k.subgroupSize}`;
  return [
    `kernel ${k.kind} ${JSON.stringify(k.name)}`,
    ...printSizes(k),
    ...k.buffers.map((b) => `  ${b.name}: ${b.access} ${b.dtype}[${printExpr(b.size)}]${of(b.reserved)}${by(b.width)}`),
    ...k.arrays.map((a) => `  ${a.space} ${a.name}: ${a.dtype}[${a.length}]${by(a.width)}`),
    ...fragmentsOf(k).map((f) => `  fragment ${f.name}: ${f.role} ${f.dtype}[${f.rows}, ${f.columns}]`),
    ...(features.length > 0 ? [`  requires ${features.join(", ")}`] : []),
    `  workgroup [${k.workgroup.join(", ")}]${subgroup} grid [${k.grid.map(printExpr).join(", ")}]`,
    "{",
    ...k.body.flatMap((s) => printStmt(s, "  ", (t) => bounds.get(t))),
    "}",
    "",
  ].join("\n");
}
