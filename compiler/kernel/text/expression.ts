/** Parses expressions. Types are inferred from operands and declarations, and checked later by the verifier. */
import { didYouMean } from "../../diagnostics/did-you-mean.ts";
import { findOp, opRecords } from "../../ir/op.ts";
import {
  type ArithOp,
  anyThread,
  type Builtin,
  bool,
  builtin,
  builtins,
  type CompareOp,
  cast,
  component,
  construct,
  type Expr,
  element,
  float,
  floatArith,
  load,
  opCall,
  type RegisterType,
  type SubgroupOp,
  subgroupCall,
  subgroupOps,
  widthOf,
} from "../expr.ts";
import { opResult } from "../op-result.ts";
import { asWritten } from "../simplify.ts";
import { type LineReader, registerType } from "./reader.ts";
import type { Scope } from "./scope.ts";
import { KernelSyntaxFault, spanOf, type Token } from "./tokens.ts";

/** Binary operators by precedence, the lowest first. */
const ranks: readonly Readonly<Record<string, string>>[] = [
  { "|": "or" },
  { "&": "and" },
  { "<": "lt", "<=": "le", "==": "eq", "!=": "ne" },
  { "+": "add", "-": "sub" },
  { "*": "mul", "/": "div", "%": "mod" },
];
const comparisons = 2;

/** Numbers that are written as words. */
const special: ReadonlyMap<string, number> = new Map([
  ["inf", Infinity],
  ["nan", Number.NaN],
]);

/** The deepest nesting of brackets; limits the recursion of the parser. */
const deepest = 200;

function arith(op: ArithOp, a: Expr, b: Expr): Expr {
  return a.dtype === "i32" && b.dtype === "i32" && !widthOf(a) ? asWritten(op, a, b) : floatArith(op, a, b);
}

export class ExpressionReader {
  private readonly line: LineReader;
  private readonly scope: Scope;
  private depth = 0;

  constructor(line: LineReader, scope: Scope) {
    this.line = line;
    this.scope = scope;
  }

  read(): Expr {
    const first = this.line.peek();
    if (++this.depth > deepest)
      throw new KernelSyntaxFault(spanOf(first), `parentheses are nested more than ${deepest} deep`);
    const condition = this.binary(0);
    let result = condition;
    if (this.line.take("?")) {
      const yes = this.read();
      this.line.expect(":");
      const no = this.read();
      const width = widthOf(yes);
      result = { kind: "select", dtype: yes.dtype, ...(width && { width }), condition, yes, no };
    }
    this.depth--;
    return this.place(result, first);
  }

  private place(e: Expr, first: Token): Expr {
    return this.scope.placed(e, first, this.line.last());
  }

  private binary(rank: number): Expr {
    if (rank === ranks.length) return this.postfix();
    const first = this.line.peek();
    let left = this.binary(rank + 1);
    for (;;) {
      const op = this.line.peek().kind === "sign" ? ranks[rank]![this.line.peek().image] : undefined;
      if (op === undefined) return left;
      this.line.next();
      const right = this.binary(rank + 1);
      if (rank < comparisons) left = { kind: "logic", dtype: "bool", op: op as "and" | "or", a: left, b: right };
      else if (rank === comparisons) left = { kind: "compare", dtype: "bool", op: op as CompareOp, a: left, b: right };
      else left = arith(op as ArithOp, left, right);
      this.place(left, first);
    }
  }

  /** An operand, optionally followed by a vector component: `v.x`, or `v.5` for eight elements. */
  private postfix(): Expr {
    const first = this.line.peek();
    let e = this.operand();
    while (this.line.take(".")) {
      const token = this.line.next();
      const lane = token.kind === "number" ? Number(token.image) : "xyzw".indexOf(token.image);
      if (!Number.isInteger(lane) || lane < 0 || token.image === "")
        throw new KernelSyntaxFault(
          spanOf(token),
          `"${token.image}" is not an element of a vector: use x, y, z, w, or 0 to 7 of eight`,
        );
      e = this.place(component(e, lane), first);
    }
    return e;
  }

  private operand(): Expr {
    const first = this.line.peek();
    const e = this.unplaced();
    return first.image === "(" ? e : this.place(e, first);
  }

  private unplaced(): Expr {
    const { line } = this;
    const token = line.peek();
    if (line.take("(")) {
      const e = this.read();
      line.expect(")");
      return e;
    }
    if (token.kind === "number" || line.is("-") || (special.has(token.image) && this.typeFollows()))
      return this.number();
    if (line.take("$")) return this.size();
    if (line.take("@")) return this.op();
    const name = line.name("a value");
    if (name.image === "true" || name.image === "false") return bool(name.image === "true");
    if (line.is("(")) return this.call(name);
    if (line.take("[")) {
      const index = this.read();
      line.expect("]");
      const found = this.scope.of(name, ["buffer", "array"], "buffer or array");
      if (found.kind === "buffer") return load(name.image, found.buffer.dtype, index, found.buffer.width);
      return element(name.image, found.array.dtype, index, found.array.width);
    }
    return { ...this.scope.of(name, ["var"], "value").var };
  }

  /** `5`, or with a dtype directly after it `0.5:f32`. */
  private number(): Expr {
    const { line } = this;
    const negative = line.take("-");
    const token = line.peek();
    if (token.kind !== "number" && !special.has(token.image)) line.fail("a number");
    const value = (special.get(token.image) ?? Number(token.image)) * (negative ? -1 : 1);
    const typed = this.typeFollows();
    line.next();
    if (typed) {
      line.next();
      return float(value, line.dtype());
    }
    if (!Number.isInteger(value))
      throw new KernelSyntaxFault(spanOf(token), `${token.image} is not an i32`, {
        hint: `give its type: ${token.image}:f32`,
      });
    return float(value, "i32");
  }

  /** Whether `:f32` follows the next token without a space. */
  private typeFollows(): boolean {
    const [token, colon, type] = [this.line.peek(), this.line.peek(1), this.line.peek(2)];
    const adjacent = colon.column === token.column + token.image.length && type.column === colon.column + 1;
    return this.line.is(":", 1) && adjacent && registerType(type.image) !== undefined;
  }

  private size(): Expr {
    const name = this.line.name("the name of a size");
    const found = this.scope.sizes.get(name.image);
    if (found) return { ...found };
    throw new KernelSyntaxFault(
      spanOf(name),
      `there is no size "$${name.image}"${didYouMean(name.image, this.scope.sizes.keys())}`,
    );
  }

  private args(): Expr[] {
    const args: Expr[] = [];
    this.line.expect("(");
    while (!this.line.take(")")) {
      if (args.length > 0) this.line.expect(",");
      args.push(this.read());
    }
    return args;
  }

  private op(): Expr {
    const name = this.line.name("the name of an op");
    if (!findOp(name.image)?.scalar)
      throw new KernelSyntaxFault(
        spanOf(name),
        `there is no elementwise op "${name.image}"${didYouMean(name.image, elementwise())}`,
      );
    const args = this.args();
    const result = opResult(name.image, args);
    if (result) return opCall(name.image, result, args);
    const types = args.map((a) => a.dtype).join(", ");
    throw new KernelSyntaxFault(spanOf(name, this.line.last()), `@${name.image} does not take (${types})`);
  }

  private call(name: Token): Expr {
    const args = this.args();
    const counted = (count: number) => {
      if (args.length === count) return;
      throw new KernelSyntaxFault(
        spanOf(name, this.line.last()),
        `${name.image} takes ${count} operand${count === 1 ? "" : "s"}, not ${args.length}`,
      );
    };
    const type = registerType(name.image);
    if (type) return this.typed(type, name, args);
    if (name.image === "min" || name.image === "max") {
      counted(2);
      return arith(name.image, args[0]!, args[1]!);
    }
    if ((builtins as readonly string[]).includes(name.image)) {
      counted(1);
      return builtin(name.image as Builtin, args[0]!);
    }
    const op = subgroupOps.find((o) => name.image === `subgroup_${o}`);
    if (op) {
      counted(takesLane(op) ? 2 : 1);
      return subgroupCall(op, args[0]!, args[1]);
    }
    if (name.image === "workgroup_any") {
      counted(1);
      return anyThread(args[0]!);
    }
    const known = ["workgroup_any", "min", "max", ...builtins, ...subgroupOps.map((o) => `subgroup_${o}`)];
    throw new KernelSyntaxFault(spanOf(name), `there is no function "${name.image}"${didYouMean(name.image, known)}`);
  }

  /** `f32x4(a, b, c, d)` is a vector of scalars, `f32x4(a)` of a scalar is a splat, anything else is a cast. */
  private typed(type: RegisterType, name: Token, args: readonly Expr[]): Expr {
    const [only] = args;
    if (!only) throw new KernelSyntaxFault(spanOf(name, this.line.last()), `${name.image} of nothing`);
    if (type.width && (args.length > 1 || !widthOf(only))) return { ...construct(type.width, args), dtype: type.dtype };
    if (args.length > 1)
      throw new KernelSyntaxFault(spanOf(name, this.line.last()), `${name.image} takes 1 operand, not ${args.length}`);
    const converted = cast(only, type.dtype);
    if (converted === only)
      throw new KernelSyntaxFault(spanOf(name, this.line.last()), `a cast of ${only.dtype} to itself`);
    return { ...converted, ...(type.width && { width: type.width }) } as Expr;
  }
}

const takesLane = (op: SubgroupOp): boolean => op === "broadcast" || op === "shuffle" || op === "shuffle_xor";

const elementwise = (): string[] => opRecords().flatMap((r) => (r.scalar ? [r.name] : []));
