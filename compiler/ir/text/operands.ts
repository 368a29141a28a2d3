/** Operands: references to values, numbers that become constants, and series (`repeat`). */
import { type DType, misfit } from "../dtype.ts";
import { intern, type Node } from "../node.ts";
import { tensorType } from "../type.ts";
import { mostStatements } from "./context.ts";
import { type Known, lookUp, type Scope } from "./scope.ts";
import type { Expression, Operand, Span } from "./tree.ts";
import { type Bindings, readDtype, readInteger, readLiteral, TextFault } from "./values.ts";

type LiteralTree = Extract<Operand, { kind: "literal" }>;
type SeriesTree = Extract<Operand, { kind: "series" }>;

/** A value, or a number that takes the dtype of the other operands. */
export type OperandValue =
  | { readonly kind: "known"; readonly known: Known; readonly span: Span }
  | { readonly kind: "number"; readonly value: number; readonly span: Span };

/** The operands in order, with series expanded. */
export const operandValues = (scope: Scope, operands: readonly Operand[]): OperandValue[] =>
  operands.flatMap((operand) => {
    if (operand.kind === "literal") return [literalValue(operand, scope.bindings)];
    if (operand.kind === "series") return seriesValues(scope, operand);
    return [{ kind: "known" as const, known: lookUp(scope, operand.reference), span: operand.span }];
  });

function literalValue({ value, dtype, span }: LiteralTree, bindings: Bindings): OperandValue {
  const number = readLiteral(value, bindings);
  if (!dtype) return { kind: "number", value: number, span };
  return { kind: "known", known: { node: constantAt(number, readDtype(dtype), span) }, span };
}

/** The constant node of a number in the text. */
const constantNode = (value: number, dtype: DType): Node =>
  intern("constant", [], { value, dtype }, tensorType(dtype, []));

/** The same; throws TextFault if the dtype cannot represent the number. */
function constantAt(value: number, dtype: DType, span: Span): Node {
  const wrong = misfit(dtype, value);
  if (wrong) throw new TextFault(span, wrong.message, wrong.hint);
  return constantNode(value, dtype);
}

function seriesValues(scope: Scope, { count, variable, items }: SeriesTree): OperandValue[] {
  const values: OperandValue[] = [];
  const iterations = readCount(count, scope);
  for (let t = 0; t < iterations; t++) {
    const inner = { ...scope, bindings: new Map([...scope.bindings, [variable.text, t]]) };
    for (const value of operandValues(inner, items)) values.push(value);
  }
  return values;
}

/** The number of iterations of a loop. */
export function readCount(expression: Expression, scope: Scope): number {
  const count = readInteger(expression, scope.bindings);
  if (count >= 1 && count <= mostStatements) return count;
  throw new TextFault(expression.span, `a loop has 1 to ${mostStatements} iterations, not ${count}`);
}

/** The value of a single operand, with no other to give a number its dtype. */
export function loneValue(scope: Scope, operand: Operand): Known {
  const [value, ...more] = operandValues(scope, [operand]);
  if (value?.kind === "known" && more.length === 0) return value.known;
  const message = more.length > 0 ? "one value is expected here" : "a number alone has no dtype: write it as f32(0.5)";
  throw new TextFault(operand.span, message);
}

/** Numbers become constants with the dtype of the first tensor that is not bool, else of the first tensor. */
export function asNodes(values: readonly OperandValue[]): (Node | undefined)[] {
  const known = values.flatMap((v) => (v.kind === "known" ? [v.known.node] : []));
  const like = known.find((n) => n && n.type.dtype !== "bool") ?? known[0];
  const undecided = known.includes(undefined);
  return values.map((v) => {
    if (v.kind === "known") return v.known.node;
    if (like && !(undecided && like.type.dtype === "bool")) return constantAt(v.value, like.type.dtype, v.span);
    if (undecided) return undefined;
    throw new TextFault(v.span, "nothing here says the dtype of this number: write it as f32(0.5)");
  });
}
