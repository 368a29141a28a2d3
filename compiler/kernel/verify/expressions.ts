/** Type rules for expressions. */
import { type Expr, printRegisterType, type RegisterType, widthOf } from "../expr.ts";
import { children } from "../expr-structure.ts";
import type { Kernel } from "../kernel.ts";
import { opResult } from "../op-result.ts";
import type { Report } from "./fault.ts";

const text = (e: Expr): string => printRegisterType(e as RegisterType);
const alike = (a: Expr, b: Expr): boolean => a.dtype === b.dtype && widthOf(a) === widthOf(b);

/** Reports faults of an expression of a statement; `collective`: whether it may be a subgroup operation. */
export function expressionFaults(
  root: Expr,
  kernel: Kernel,
  scope: ReadonlySet<string>,
  collective: boolean,
  report: Report,
): void {
  const seen = new Set<Expr>();
  const visit = (e: Expr): void => {
    if (seen.has(e)) return;
    seen.add(e);
    for (const c of children(e)) visit(c);
    if (e.kind === "subgroup" && !(collective && e === root))
      report(e, `subgroup_${e.op} must be the whole value of a let, not part of an expression`);
    if (e.kind === "any" && !(collective && e === root))
      report(e, "workgroup_any must be the whole value of a let, not part of an expression");
    const fault = faultOf(e, kernel, scope);
    if (fault) report(e, fault);
  };
  visit(root);
}

/** The fault of an expression itself, without its operands. */
function faultOf(e: Expr, kernel: Kernel, scope: ReadonlySet<string>): string | undefined {
  if (widthOf(e) === 8 && !["load", "element", "var", "construct", "select"].includes(e.kind))
    return "a vector of eight can only be loaded, stored and assembled, not computed with";
  if (e.dtype === "bool" && widthOf(e)) return `there is no type ${text(e)}`;
  switch (e.kind) {
    case "const":
      return constantFault(e.value, e.dtype);
    case "var":
      return scope.has(e.name) ? undefined : `${e.name} is used before it is defined`;
    case "size":
      return kernel.sizes.includes(e.name) ? undefined : `$${e.name} is not a declared size`;
    case "load":
      return accessFault(
        e,
        kernel.buffers.find((b) => b.name === e.buffer),
        "buffer",
        e.buffer,
      );
    case "element":
      return accessFault(
        e,
        kernel.arrays.find((a) => a.name === e.array),
        "array",
        e.array,
      );
    case "arith":
      return e.a.dtype === "bool" ? `${e.op} does not apply to bool` : operandsFault(e);
    case "compare":
    case "logic":
      if (widthOf(e.a) || widthOf(e.b)) return `${e.op} takes scalars, not vectors`;
      if (e.kind === "logic" && e.a.dtype !== "bool") return `${e.op} takes bool, not ${e.a.dtype}`;
      return operandsFault(e);
    case "op":
      if (opResult(e.op, e.args) !== e.dtype || e.args.some((a) => widthOf(a) !== e.width))
        return `@${e.op} of ${e.args.map(text).join(", ")} does not give ${text(e)}`;
      return undefined;
    case "builtin":
      return e.args.length === 1 && alike(e, e.args[0]!) && (e.dtype === "f32" || e.dtype === "f16")
        ? undefined
        : `${e.fn} does not take (${e.args.map(text).join(", ")})`;
    case "select":
      return e.condition.dtype === "bool" && !widthOf(e.condition) && alike(e.yes, e.no) && alike(e, e.yes)
        ? undefined
        : "a select needs a bool condition and two values of its own type";
    case "construct":
      return constructFault(e);
    case "component":
      return componentFault(e);
    case "cast":
      return widthOf(e.a) === e.width ? undefined : `${text(e.a)} cannot be cast to ${text(e)}: the widths differ`;
    case "subgroup":
      return subgroupFault(e);
    case "any":
      return e.value.dtype === "bool" ? undefined : `workgroup_any takes a bool, not ${text(e.value)}`;
  }
}

function constantFault(value: number, dtype: Expr["dtype"]): string | undefined {
  const isInt = dtype === "i32" || dtype === "u32";
  const [low, high] = dtype === "u32" ? [0, 2 ** 32 - 1] : [-(2 ** 31), 2 ** 31 - 1];
  if (dtype === "f32") return undefined; // nan and infinities are valid
  const fits = Number.isFinite(value) && (!isInt || (Number.isInteger(value) && value >= low && value <= high));
  return fits ? undefined : `the constant ${value} is not a value of ${dtype}`;
}

function operandsFault(e: Extract<Expr, { kind: "arith" | "compare" | "logic" }>): string | undefined {
  if (alike(e.a, e.b) && (e.kind !== "arith" || alike(e, e.a))) return undefined;
  return `the operands of ${e.op} have different types: ${text(e.a)} and ${text(e.b)}`;
}

function constructFault(e: Extract<Expr, { kind: "construct" }>): string | undefined {
  if (e.parts.length !== 1 && e.parts.length !== e.width)
    return `${text(e)} cannot be made of ${e.parts.length} elements`;
  if (e.width === 8 && e.dtype !== "f16") return `there is no type ${text(e)}`;
  if (e.parts.every((p) => p.dtype === e.dtype && !widthOf(p))) return undefined;
  return `${text(e)} cannot be made of ${e.parts.map(text).join(", ")}`;
}

function componentFault({ vector, lane, dtype }: Extract<Expr, { kind: "component" }>): string | undefined {
  const width = widthOf(vector);
  if (!width) return `${text(vector)} is not a vector, so it has no elements`;
  return lane < width && dtype === vector.dtype ? undefined : `${text(vector)} has no element ${lane}`;
}

function accessFault(
  e: Extract<Expr, { kind: "load" | "element" }>,
  declared: RegisterType | undefined,
  what: string,
  name: string,
): string | undefined {
  if (!declared) return `${name} is not ${what === "array" ? "an array" : "a buffer"}`;
  if (e.index.dtype !== "i32" || widthOf(e.index)) return `an index must be i32, not ${text(e.index)}`;
  if (declared.dtype === e.dtype && declared.width === e.width) return undefined;
  return `load of ${text(e)} from ${what} ${name}, whose elements are ${printRegisterType(declared)}`;
}

function subgroupFault(e: Extract<Expr, { kind: "subgroup" }>): string | undefined {
  const takesLane = e.op === "broadcast" || e.op.startsWith("shuffle");
  if (e.dtype === "bool" || !alike(e, e.value)) return `subgroup_${e.op} does not take ${text(e.value)}`;
  if (takesLane !== (e.lane !== undefined))
    return `subgroup_${e.op} takes ${takesLane ? "a value and a lane" : "a value and no lane"}`;
  if (e.lane && (e.lane.dtype !== "i32" || widthOf(e.lane))) return `a lane must be i32, not ${text(e.lane)}`;
  if (e.op === "broadcast" && e.lane!.kind !== "const")
    return "the lane of subgroup_broadcast must be a constant: use subgroup_shuffle";
  return undefined;
}
