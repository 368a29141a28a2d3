/** Kernels as text: what golden tests compare and a developer reads before the WGSL. */
import type { Expr } from "./expr.ts";
import type { Kernel, Stmt } from "./kernel.ts";

const infix = {
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

export function printExpr(e: Expr): string {
  switch (e.kind) {
    case "const":
      return e.dtype === "i32"
        ? `${e.value}`
        : e.dtype === "bool"
          ? e.value
            ? "true"
            : "false"
          : `${e.value}:${e.dtype}`;
    case "var":
      return e.name;
    case "size":
      return `$${e.name}`;
    case "arith":
      if (e.op === "min" || e.op === "max") return `${e.op}(${printExpr(e.a)}, ${printExpr(e.b)})`;
      return `(${printExpr(e.a)} ${infix[e.op]} ${printExpr(e.b)})`;
    case "compare":
    case "logic":
      return `(${printExpr(e.a)} ${infix[e.op]} ${printExpr(e.b)})`;
    case "op":
      return `@${e.op}(${e.args.map(printExpr).join(", ")})`;
    case "builtin":
      return `${e.fn}(${e.args.map(printExpr).join(", ")})`;
    case "load":
      return `${e.buffer}[${printExpr(e.index)}]`;
    case "load4":
      return `${e.buffer}.4[${printExpr(e.index)}]`;
    case "component":
      return `${printExpr(e.vector)}.${"xyzw"[e.lane]}`;
    case "element":
      return `${e.array}[${printExpr(e.index)}]`;
    case "select":
      return `(${printExpr(e.condition)} ? ${printExpr(e.yes)} : ${printExpr(e.no)})`;
    case "cast":
      return `${e.dtype}(${printExpr(e.a)})`;
  }
}

function printStmt(s: Stmt, indent: string): string[] {
  const nested = (body: readonly Stmt[]) => body.flatMap((t) => printStmt(t, `${indent}  `));
  switch (s.kind) {
    case "let":
    case "var":
      return [`${indent}${s.kind} ${s.target.name}: ${s.target.dtype} = ${printExpr(s.value)}`];
    case "assign":
      return [`${indent}${s.target.name} = ${printExpr(s.value)}`];
    case "for": {
      const step = s.step === 1 ? "" : ` by ${s.step}`;
      return [
        `${indent}for ${s.index.name} in ${printExpr(s.from)} .. ${printExpr(s.to)}${step} {`,
        ...nested(s.body),
        `${indent}}`,
      ];
    }
    case "if":
      return [`${indent}if ${printExpr(s.condition)} {`, ...nested(s.body), `${indent}}`];
    case "store":
      return [`${indent}${s.buffer}[${printExpr(s.index)}] = ${printExpr(s.value)}`];
    case "store4":
      return [`${indent}${s.buffer}.4[${printExpr(s.index)}] = (${s.values.map(printExpr).join(", ")})`];
    case "set":
      return [`${indent}${s.array}[${printExpr(s.index)}] = ${printExpr(s.value)}`];
    case "barrier":
      return [`${indent}barrier`];
  }
}

/** One line per statement; equal kernels print equal bytes. */
export function printKernel(k: Kernel): string {
  const buffers = k.buffers.map(
    (b) => `  ${b.name}: ${b.access} ${b.dtype}${b.width ? ".4" : ""}[${printExpr(b.size)}]`,
  );
  const arrays = k.arrays.map((a) => `  ${a.space} ${a.name}: ${a.dtype}[${a.length}]`);
  const sizes = k.sizes.length ? [`  sizes ${k.sizes.map((s) => `$${s}`).join(", ")}`] : [];
  return [
    `kernel ${k.kind} "${k.name}"`,
    ...buffers,
    ...sizes,
    ...arrays,
    `  workgroup [${k.workgroup.join(", ")}] grid [${k.grid.map(printExpr).join(", ")}]`,
    "{",
    ...k.body.flatMap((s) => printStmt(s, "  ")),
    "}",
    "",
  ].join("\n");
}
