/** Rules for fragments: roles, shapes and types must match each other and the memory that they are loaded from. */
import { widthOf } from "../expr.ts";
import {
  type FragmentDecl,
  type FragmentRole,
  fragmentsOf,
  type Kernel,
  type MatrixPlace,
  type Stmt,
  statements,
} from "../kernel.ts";
import type { Report } from "./fault.ts";

export function matrixFaults(kernel: Kernel, report: Report): void {
  const fragments = new Map(fragmentsOf(kernel).map((f) => [f.name, f]));
  for (const s of statements(kernel.body)) {
    if (!("fragment" in s)) continue;
    const f = fragments.get(s.fragment);
    if (!f) report(s, `${s.fragment} is not a fragment`);
    else if (s.kind === "fragment_multiply") multiplyFaults(s, f, fragments, report);
    else if (s.kind === "fragment_fill") {
      if (s.value.dtype !== f.dtype || widthOf(s.value))
        report(s, `${f.name} is a fragment of ${f.dtype} and cannot be filled with ${s.value.dtype}`);
    } else if (s.kind === "fragment_load") placeFaults(s, s.from, f, kernel, report);
    else placeFaults(s, s.to, f, kernel, report);
  }
}

const shapeText = ({ name, rows, columns }: FragmentDecl) => `${name} [${rows}, ${columns}]`;

function multiplyFaults(
  s: Extract<Stmt, { kind: "fragment_multiply" }>,
  result: FragmentDecl,
  fragments: ReadonlyMap<string, FragmentDecl>,
  report: Report,
): void {
  const [left, right] = [fragments.get(s.left), fragments.get(s.right)];
  for (const name of [s.left, s.right]) if (!fragments.has(name)) report(s, `${name} is not a fragment`);
  if (!left || !right) return;
  const roles: [FragmentDecl, FragmentRole][] = [
    [result, "result"],
    [left, "left"],
    [right, "right"],
  ];
  for (const [f, role] of roles)
    if (f.role !== role) report(s, `${f.name} is a ${f.role} fragment, but a ${role} fragment is needed here`);
  if (left.rows !== result.rows || right.columns !== result.columns || left.columns !== right.rows)
    report(s, `${shapeText(left)} times ${shapeText(right)} does not have the shape of ${shapeText(result)}`);
  // f16 operands may be accumulated in f32; otherwise all three dtypes are the same.
  const fits =
    left.dtype === right.dtype && (result.dtype === left.dtype || (left.dtype === "f16" && result.dtype === "f32"));
  if (!fits) report(s, `products of ${left.dtype} and ${right.dtype} cannot accumulate in ${result.dtype}`);
}

function placeFaults(s: Stmt, place: MatrixPlace, f: FragmentDecl, kernel: Kernel, report: Report): void {
  const buffer = kernel.buffers.find((b) => b.name === place.array);
  const array = kernel.arrays.find((a) => a.name === place.array);
  const memory = buffer ?? array;
  if (!memory) {
    report(s, `${place.array} is not declared`);
    return;
  }
  if (array?.space === "private")
    report(s, `a fragment cannot be loaded from or stored to ${place.array}, which is private to a thread`);
  if (s.kind === "fragment_store" && buffer?.access === "read")
    report(s, `store to ${buffer.name}, which is read-only`);
  if (memory.dtype !== f.dtype) report(s, `${f.name} is ${f.dtype}, but ${memory.name} is ${memory.dtype}`);
  for (const e of [place.offset, place.stride])
    if (e.dtype !== "i32" || widthOf(e)) report(s, "the offset and stride of a fragment must be i32");
  const line = place.order === "row_major" ? f.columns : f.rows;
  const width = memory.width ?? 1;
  if (line % width !== 0)
    report(
      s,
      `a fragment's lines of ${line} elements are not a multiple of the access width ${width} of ${memory.name}`,
    );
  if (place.stride.kind === "const" && place.stride.value * width < line)
    report(s, `the stride, ${place.stride.value * width} elements, is less than a line of ${line}`);
}
