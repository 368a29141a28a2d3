/** Node construction: op lookup, type inference, interning. Constraint violations become errors at the user's line. */
import { ShapeError, UsageError } from "../diagnostics/error.ts";
import { type Birth, captureBirth, locationOf, printLocation, quoteSource } from "../diagnostics/source-location.ts";
import { type Dim, printApart } from "./dim.ts";
import type { Attrs, Node } from "./node.ts";
import { intern } from "./node.ts";
import { isConstant, isParameter, OpViolation, opRecord, sourceOf } from "./op.ts";
import { printType } from "./type.ts";

/** Builds `op` on `operands`; throws ShapeError [op Cn] naming every operand, its axes and its birthplace. */
export function build(op: string, operands: readonly Node[], attrs: Attrs, path?: string): Node {
  const record = opRecord(op);
  assertTensors(op, operands);
  const birth = captureBirth();
  try {
    const type = record.infer(
      operands.map((o) => o.type),
      attrs,
    );
    return intern(op, operands, attrs, type, birth, path);
  } catch (error) {
    if (error instanceof OpViolation) throw violation(op, record.operands, operands, error, birth);
    throw error;
  }
}

/** Throws UsageError for an operand that is not a tensor, which a program that is not type-checked may pass. */
export function assertTensors(op: string, operands: readonly unknown[]): void {
  const at = operands.findIndex((o) => (o as Node | null | undefined)?.type?.axes === undefined);
  if (at < 0) return;
  const given = operands[at];
  const said = typeof given === "string" ? `the text "${given}"` : typeof given === "object" ? "an object" : `${given}`;
  const hint = typeof given === "string" ? ": the + of JavaScript joins texts; add tensors with add(a, b)" : "";
  throw new UsageError(
    `${op}: ${operandName(opRecord(op).operands, at)} is ${given === null ? "null" : said}, not a tensor${hint}`,
  );
}

/** The error, at the user's line, for a constraint that is violated before `infer` can run. */
export const brokenConstraint = (op: string, operands: readonly Node[], v: OpViolation): ShapeError =>
  violation(op, opRecord(op).operands, operands, v, captureBirth());

function violation(op: string, names: readonly string[], operands: readonly Node[], v: OpViolation, birth: Birth) {
  const rows = operands.map((o, i) => [operandName(names, i), printType(o.type), provenance(o), place(o)]);
  const widths = [0, 1, 2].map((c) => Math.max(...rows.map((r) => r[c]!.length), 0));
  const table = rows.map((r) => `  ${r.map((cell, c) => cell.padEnd(widths[c] ?? 0)).join("  ")}`.trimEnd());
  const location = locationOf(birth);
  const source = quoteSource(location);
  const at = location ? [`  at ${printLocation(location)}`] : [];
  const hints = [...clashingAxes(operands), ...(v.hint === undefined ? [] : [v.hint])].map((h) => `  hint: ${h}`);
  return new ShapeError([`[${op} ${v.constraint}]: ${v.message}`, ...table, ...at, ...source, ...hints].join("\n"));
}

/** For each axis name to which two operands give different sizes: where each size originates. */
function clashingAxes(operands: readonly Node[]): string[] {
  const first = new Map<string, { size: Dim; node: Node }>();
  const hints = new Map<string, string>();
  for (const node of operands) {
    for (const { name, size } of node.type.axes) {
      const known = first.get(name) ?? { size, node };
      first.set(name, known);
      if (known.size === size || hints.has(name)) continue;
      const sizes = printApart(known.size, size);
      const [a, b] = [known, { size, node }].map(
        (x, i) => `${sizes[i]} from ${describe(originOf(x.node, name, x.size))}`,
      );
      hints.set(name, `two axes are named "${name}": ${a}, ${b}`);
    }
  }
  return [...hints.values()];
}

/** The node that introduced an axis of this size: none of its operands has it. */
function originOf(node: Node, name: string, size: Dim): Node {
  const has = (o: Node) => o.type.axes.some((a) => a.name === name && a.size === size);
  for (let at = node; ; ) {
    const before = at.operands.find(has);
    if (!before) return at;
    at = before;
  }
}

const describe = (node: Node): string => `${provenance(node)} at ${place(node)}`;

function operandName(names: readonly string[], i: number): string {
  const last = names.at(-1) ?? "";
  if (last.endsWith("...") && i >= names.length - 1) return `${last.slice(0, -3)}${i - names.length + 2}`;
  return (names[i] ?? `#${i}`).replace("?", "");
}

function provenance(node: Node): string {
  const { op, attrs, type } = node;
  if (isParameter(node) || sourceOf(node) === "input") return `${op} "${attrs.name}"`;
  return isConstant(node) && type.axes.length === 0 ? `constant ${attrs.value}` : op;
}

/** Where a node was written; a plain number is on the line of the op itself. */
const place = (node: Node): string => (isConstant(node) && !node.birth ? "" : printLocation(locationOf(node.birth)));
