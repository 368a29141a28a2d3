/** Parses statements, one per line. The bodies of blocks are parsed by the caller. */
import { counterRange } from "../bounds.ts";
import { type Expr, type Range, type RegisterType, rangeOf, unbounded, type Var, variable } from "../expr.ts";
import { type MatrixPlace, majorOrders, type Stmt } from "../kernel.ts";
import { readRange } from "./declarations.ts";
import { ExpressionReader } from "./expression.ts";
import type { LineReader } from "./reader.ts";
import type { Scope } from "./scope.ts";

const expression = (line: LineReader, scope: Scope): Expr => new ExpressionReader(line, scope).read();

const named = (name: string, type: RegisterType, range: Range): Var => ({
  ...variable(name, type.dtype, range),
  ...(type.width && { width: type.width }),
});

/** Parses a statement; one that opens a block gets an empty body. Binds the name of a let or var. */
export function readStatement(line: LineReader, scope: Scope): Stmt {
  const first = line.peek();
  const s = read(line, scope);
  line.end();
  return scope.placed(s, first, line.last());
}

function read(line: LineReader, scope: Scope): Stmt {
  const isAssignment = line.is("=", 1) || line.is("[", 1) || line.is("+=", 1);
  if (!isAssignment) {
    if (line.is("let") || line.is("var")) return readBinding(line, scope);
    if (line.take("for")) return readLoop(line, scope);
    if (line.take("if")) {
      const condition = expression(line, scope);
      line.expect("{");
      return { kind: "if", condition, body: [] };
    }
    if (line.take("barrier")) return line.take("buffers") ? { kind: "barrier", buffers: true } : { kind: "barrier" };
    if (line.take("fill")) {
      const fragment = readFragmentName(line, scope);
      line.expect("with");
      return { kind: "fragment_fill", fragment, value: expression(line, scope) };
    }
    if (line.take("load")) {
      const fragment = readFragmentName(line, scope);
      line.expect("from");
      return { kind: "fragment_load", fragment, from: readPlace(line, scope) };
    }
    if (line.take("store")) {
      const fragment = readFragmentName(line, scope);
      line.expect("to");
      return { kind: "fragment_store", fragment, to: readPlace(line, scope) };
    }
  }
  return readAssignment(line, scope);
}

function readBinding(line: LineReader, scope: Scope): Stmt {
  const kind = line.word(["let", "var"], "a binding");
  const name = line.name();
  line.expect(":");
  const type = line.type();
  const stated = readRange(line);
  // Bind before parsing the value: if it does not parse, uses of the name are still checked.
  scope.bind(name.image, { kind: "var", var: named(name.image, type, stated ?? unbounded) });
  line.expect("=");
  const value = expression(line, scope);
  const implied = kind === "let" && type.dtype === "i32" && !type.width ? rangeOf(value) : unbounded;
  const target = named(name.image, type, stated ?? implied);
  scope.bind(name.image, { kind: "var", var: target });
  return { kind, target, value };
}

/** `for k in 0 .. 8 by 2 {`, or with stated bounds `for k: i32 in 0 .. 8 = lid .. 8 by 32 {`. */
function readLoop(line: LineReader, scope: Scope): Stmt {
  const name = line.name();
  let stated: Range | undefined;
  if (line.take(":")) {
    line.expect("i32");
    stated = readRange(line);
    line.expect("=");
  } else line.expect("in");
  const from = expression(line, scope);
  line.expect("..");
  const to = expression(line, scope);
  const step = line.take("by") ? line.integer() : 1;
  line.expect("{");
  const index = variable(name.image, "i32", stated ?? counterRange(from, to));
  return { kind: "for", index, from, to, step, body: [] };
}

/** Binds the counter of a loop whose line did not parse, so that its body can be parsed. */
export function readCounter(line: LineReader, scope: Scope): void {
  if (line.take("for") && line.peek().kind === "name") {
    const name = line.next().image;
    scope.bind(name, { kind: "var", var: variable(name, "i32") });
  }
}

/** Binds the counter of a loop for its body. */
export function bindCounter(s: Stmt, scope: Scope): void {
  if (s.kind === "for") scope.bind(s.index.name, { kind: "var", var: s.index });
}

const readFragmentName = (line: LineReader, scope: Scope): string => {
  const name = line.name("the name of a fragment");
  return scope.of(name, ["fragment"], "fragment").fragment.name;
};

/** `slab[(k * 9)] stride 9 row_major`. */
function readPlace(line: LineReader, scope: Scope): MatrixPlace {
  const name = line.name("a buffer or array");
  scope.of(name, ["buffer", "array"], "buffer or array");
  line.expect("[");
  const offset = expression(line, scope);
  line.expect("]");
  line.expect("stride");
  const stride = expression(line, scope);
  return { array: name.image, offset, stride, order: line.word(majorOrders, "an order") };
}

function readAssignment(line: LineReader, scope: Scope): Stmt {
  const name = line.name("a statement");
  if (line.take("+=")) {
    const { fragment } = scope.of(name, ["fragment"], "fragment");
    const left = readFragmentName(line, scope);
    line.expect("*");
    return { kind: "fragment_multiply", fragment: fragment.name, left, right: readFragmentName(line, scope) };
  }
  if (line.take("[")) {
    const found = scope.of(name, ["buffer", "array"], "buffer or array");
    const index = expression(line, scope);
    line.expect("]");
    line.expect("=");
    const value = expression(line, scope);
    return found.kind === "buffer"
      ? { kind: "store", buffer: name.image, index, value }
      : { kind: "set", array: name.image, index, value };
  }
  line.expect("=");
  const target = scope.of(name, ["var"], "variable").var;
  return { kind: "assign", target, value: expression(line, scope) };
}
