/** Builds the node of an operation: checks the operand count, reads attributes by the op's schema, infers the type. */
import { didYouMean } from "../../diagnostics/did-you-mean.ts";
import { HeddleError } from "../../diagnostics/error.ts";
import { type AttrValue, intern, type Node } from "../node.ts";
import { findOp, type OpRecord, OpViolation, opRecords } from "../op.ts";
import { axisNames, type TensorType } from "../type.ts";
import type { Frame } from "./context.ts";
import { asNodes, type OperandValue } from "./operands.ts";
import type { Argument, Operation, Span, Value } from "./tree.ts";
import { readAttr, readName, TextFault } from "./values.ts";

type MutableAttrs = Record<string, AttrValue>;

/** The node of an operation; undefined if an operand is faulty. Throws TextFault at the faulty part. */
export function evaluateOperation(
  frame: Frame,
  operation: Operation,
  values: readonly OperandValue[],
  annotated: TensorType | undefined,
): Node | undefined {
  const record = recordOf(operation);
  assertCount(record, operation, values);
  const attrs = readAttrs(frame, record, operation, annotated);
  const operands = asNodes(values);
  if (operands.some((o) => o === undefined)) return undefined;
  const node = makeNode(frame, record, operation, operands as Node[], attrs);
  if (isInput(record)) declare(frame, operation, node);
  return node;
}

/** Named sources: their value is given when the graph runs. */
const isInput = (record: OpRecord): boolean => record.kind === "source" && record.attrs.name?.kind === "text";

function recordOf({ op }: Operation): OpRecord {
  const record = findOp(op.text);
  if (record) return record;
  const known = opRecords().map((r) => r.name);
  throw new TextFault(op.span, `there is no op "${op.text}"${didYouMean(op.text, known)}`);
}

function assertCount(record: OpRecord, { op }: Operation, values: readonly OperandValue[]): void {
  const names = record.operands;
  const least = names.filter((n) => !n.endsWith("?")).length;
  const most = names.at(-1)?.endsWith("...") ? Number.POSITIVE_INFINITY : names.length;
  if (values.length >= least && values.length <= most) return;
  const wanted =
    names.length === 0
      ? "no operands"
      : names.length === 1
        ? `the operand ${names[0]}`
        : `the operands ${names.join(", ")}`;
  const given = values.length === 1 ? "1 is given" : `${values.length} are given`;
  throw new TextFault(op.span, `${op.text} takes ${wanted}, but ${given}`);
}

function readAttrs(
  frame: Frame,
  record: OpRecord,
  operation: Operation,
  annotated: TensorType | undefined,
): MutableAttrs {
  const { op, attributes, name } = operation;
  const { bindings } = frame.scope;
  const attrs: MutableAttrs = Object.create(null);
  if (name && !isInput(record)) throw new TextFault(name.span, `${op.text} has no name`);
  if (name) attrs.name = frame.prefix + readName(name, bindings);
  for (const attribute of attributes) {
    const key = attribute.name.text;
    if (Object.hasOwn(attrs, key)) throw new TextFault(attribute.name.span, `"${key}" is given twice`);
    const spec = specOf(record, attribute);
    attrs[key] = readAttr(spec.kind, attribute.value, `"${key}" of ${op.text}`, bindings);
  }
  if (record.kind === "source") takeType(record, attrs, annotated);
  const missing = Object.keys(record.attrs).find((k) => !record.attrs[k]!.optional && !Object.hasOwn(attrs, k));
  if (missing) throw new TextFault(op.span, missingMessage(record, missing));
  return { ...attrs };
}

function specOf(record: OpRecord, { name }: Argument) {
  const known = Object.keys(record.attrs);
  if (known.includes(name.text)) return record.attrs[name.text]!;
  const list = known.length === 0 ? "it has none" : `it has ${known.join(", ")}`;
  throw new TextFault(
    name.span,
    `${record.name} has no attribute "${name.text}"${didYouMean(name.text, known) || `; ${list}`}`,
  );
}

/** A source takes its dtype and axes from the type at the end of its line. */
function takeType(record: OpRecord, attrs: MutableAttrs, type: TensorType | undefined): void {
  if (!type) return;
  if (record.attrs.dtype?.kind === "dtype") attrs.dtype ??= type.dtype;
  const axes = record.attrs.axes;
  if (axes?.kind !== "sized_axes" || (axes.optional && type.axes.length === 0)) return;
  attrs.axes ??= type.axes.map(({ name, size }) => ({ name, size }));
}

function missingMessage(record: OpRecord, name: string): string {
  const fromType = record.kind === "source" && (name === "dtype" || name === "axes");
  if (fromType) return `${record.name} needs a type at the end of its line, such as : f32[batch=4]`;
  if (name === "name" && isInput(record)) return `${record.name} needs a name in quotes: ${record.name} "..."`;
  return `${record.name} needs the attribute "${name}"`;
}

function makeNode(
  frame: Frame,
  record: OpRecord,
  { op, attributes }: Operation,
  operands: readonly Node[],
  attrs: MutableAttrs,
): Node {
  const types = operands.map((o) => o.type);
  const { line, column } = op.span;
  const birth = { location: { file: frame.file, line, column } };
  try {
    const type = record.infer(types, attrs);
    assertSizes(type, record, op.span);
    return intern(record.name, operands, attrs, type, birth, pathOf(record, attrs));
  } catch (error) {
    if (error instanceof OpViolation) throw violation(record, attributes, operands, error, op.span);
    if (error instanceof HeddleError) throw new TextFault(op.span, error.message);
    throw error;
  }
}

/** A parameter's name up to its last dot is the module path of what is computed from it. */
const pathOf = (record: OpRecord, attrs: MutableAttrs): string | undefined =>
  record.source === "parameter" ? String(attrs.name).replace(/\.[^.]*$/, "") : undefined;

function assertSizes(type: TensorType, record: OpRecord, span: Span): void {
  const wrong = type.axes.find(({ size }) => typeof size === "number" && !(Number.isSafeInteger(size) && size >= 1));
  if (wrong) throw new TextFault(span, `${record.name} gives the axis "${wrong.name}" the size ${wrong.size}`);
}

/** Reports a violated constraint at the axis that it names, if the text names that axis and no operand has it. */
function violation(
  record: OpRecord,
  attributes: readonly Argument[],
  operands: readonly Node[],
  v: OpViolation,
  span: Span,
): TextFault {
  const known = [...new Set(operands.flatMap((o) => axisNames(o.type)))];
  const words = attributes.flatMap((a) => namesIn(a.value));
  const wrong = words.find((w) => v.message.includes(`"${w.text}"`) && !known.includes(w.text));
  const near = wrong ? didYouMean(wrong.text, known) : "";
  return new TextFault(wrong?.span ?? span, `[${record.name} ${v.constraint}]: ${v.message}${near}`, v.hint);
}

function namesIn(value: Value): { text: string; span: Span }[] {
  if (value.kind === "list") return value.items.flatMap(namesIn);
  if (value.kind !== "expression") return [];
  return value.expression.terms.flatMap((t) =>
    t.factors.flatMap((f) => (typeof f === "string" ? [{ text: f, span: value.span }] : [])),
  );
}

/** Adds an input to the graph; two different ones may not share a name. */
function declare(frame: Frame, { op, name }: Operation, node: Node): void {
  const key = String(node.attrs.name);
  const known = frame.inputs.get(key);
  if (known && known !== node) {
    throw new TextFault((name ?? op).span, `there is another ${known.op} named "${key}", of a different type or kind`);
  }
  frame.inputs.set(key, node);
}
