/** Rules for the declarations of a kernel: its memory, fragments, sizes and workgroup. */
import { children, type Expr } from "../expr.ts";
import { type BufferParam, fragmentsOf, type Kernel } from "../kernel.ts";
import type { Report } from "./fault.ts";

const isCount = (n: number): boolean => Number.isInteger(n) && n > 0;

export function declarationFaults(kernel: Kernel, report: Report): void {
  const names = new Set<string>();
  for (const d of [...kernel.buffers, ...kernel.arrays, ...fragmentsOf(kernel)]) {
    if (names.has(d.name)) report(d, `${d.name} is declared twice`);
    names.add(d.name);
  }
  for (const b of kernel.buffers) {
    widthFaults(b, b.size.kind === "const" ? b.size.value : undefined, report);
    sizeFaults(b.size, kernel, report);
    reservedFaults(b, report);
  }
  for (const a of kernel.arrays) {
    if (!isCount(a.length)) report(a, `${a.name} has ${a.length} elements`);
    widthFaults(a, a.length, report);
  }
  for (const f of fragmentsOf(kernel)) {
    if (!isCount(f.rows) || !isCount(f.columns)) report(f, `${f.name} has ${f.rows} rows and ${f.columns} columns`);
    if (f.dtype === "bool") report(f, "a fragment of bool");
  }
  for (const g of kernel.grid) sizeFaults(g, kernel, report);
  if (!kernel.workgroup.every(isCount)) report(kernel, `a workgroup of [${kernel.workgroup.join(", ")}]`);
  subgroupFaults(kernel, report);
}

/** Access widths must divide the length and be at most 16 bytes. */
function widthFaults(
  d: { readonly name: string; readonly dtype: string; readonly width?: number },
  length: number | undefined,
  report: Report,
): void {
  if (d.width === undefined) return;
  if (d.dtype === "bool" || (d.width === 8 && d.dtype !== "f16"))
    report(d, `${d.name} is accessed by ${d.width}, which ${d.dtype} is not`);
  if (length !== undefined && length % d.width !== 0)
    report(d, `${d.name} has ${length} elements, which ${d.width} does not divide`);
}

function reservedFaults({ name, size, reserved, width }: BufferParam, report: Report): void {
  if (reserved === undefined) return;
  if (!isCount(reserved)) report(size, `${name} has ${reserved} elements reserved`);
  if (size.kind === "const") report(size, `${name} has a known size, and ${reserved} elements reserved besides`);
  if (width !== undefined && reserved % width !== 0)
    report(size, `${name} has ${reserved} elements reserved, which ${width} does not divide`);
}

function sizeFaults(e: Expr, kernel: Kernel, report: Report): void {
  if (e.kind === "size" && !kernel.sizes.includes(e.name)) report(e, `$${e.name} is not among the sizes`);
  if (e.kind === "var" || e.kind === "load" || e.kind === "element")
    report(e, "a size that a thread would have to compute");
  for (const c of children(e)) sizeFaults(c, kernel, report);
}

function subgroupFaults(kernel: Kernel, report: Report): void {
  const { subgroupSize: lanes, workgroup } = kernel;
  if (lanes !== undefined && !(isCount(lanes) && (lanes & (lanes - 1)) === 0 && lanes <= 128))
    report(kernel, `a subgroup of ${lanes} lanes: a power of two up to 128 is needed`);
  if (fragmentsOf(kernel).length > 0 && lanes === undefined)
    report(kernel, "fragments in a kernel that does not say its subgroup size");
  if (lanes !== undefined && workgroup[0] % lanes !== 0)
    report(kernel, `a workgroup of ${workgroup[0]} threads along x, which whole subgroups of ${lanes} do not fill`);
}
