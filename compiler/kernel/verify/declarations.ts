/** Rules for the declarations of a kernel: its memory, fragments, sizes and workgroup. */
import type { Expr } from "../expr.ts";
import { children } from "../expr-structure.ts";
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
    if (!isCount(a.length)) report(a, `${a.name} must have a positive number of elements, not ${a.length}`);
    widthFaults(a, a.length, report);
  }
  for (const f of fragmentsOf(kernel)) {
    if (!isCount(f.rows) || !isCount(f.columns))
      report(f, `${f.name} must have a positive number of rows and columns, not ${f.rows} and ${f.columns}`);
    if (f.dtype === "bool") report(f, `${f.name} is a fragment of bool: fragments are numeric`);
  }
  for (const g of kernel.grid) sizeFaults(g, kernel, report);
  if (!kernel.workgroup.every(isCount))
    report(
      kernel,
      `the workgroup [${kernel.workgroup.join(", ")}] must have a positive number of threads per dimension`,
    );
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
    report(d, `${d.name} cannot be accessed by ${d.width}: there is no vector of ${d.width} ${d.dtype}`);
  if (length !== undefined && length % d.width !== 0)
    report(d, `${d.name} has ${length} elements, not a multiple of its access width ${d.width}`);
}

function reservedFaults({ name, size, reserved, width }: BufferParam, report: Report): void {
  if (reserved === undefined) return;
  if (!isCount(reserved)) report(size, `${name} must reserve a positive number of elements, not ${reserved}`);
  if (size.kind === "const") report(size, `${name} has a known size, so it cannot also reserve ${reserved} elements`);
  if (width !== undefined && reserved % width !== 0)
    report(size, `${name} reserves ${reserved} elements, not a multiple of its access width ${width}`);
}

function sizeFaults(e: Expr, kernel: Kernel, report: Report): void {
  if (e.kind === "size" && !kernel.sizes.includes(e.name)) report(e, `$${e.name} is not a declared size`);
  if (e.kind === "var" || e.kind === "load" || e.kind === "element")
    report(e, "a buffer size or grid may use only constants and declared sizes");
  for (const c of children(e)) sizeFaults(c, kernel, report);
}

function subgroupFaults(kernel: Kernel, report: Report): void {
  const { subgroupSize: lanes, workgroup } = kernel;
  if (lanes !== undefined && !(isCount(lanes) && (lanes & (lanes - 1)) === 0 && lanes <= 128))
    report(kernel, `the subgroup size must be a power of two up to 128, not ${lanes}`);
  if (fragmentsOf(kernel).length > 0 && lanes === undefined)
    report(kernel, "a kernel with fragments must declare its subgroup size");
  if (lanes !== undefined && workgroup[0] % lanes !== 0)
    report(kernel, `the workgroup has ${workgroup[0]} threads along x, not a multiple of the subgroup size ${lanes}`);
}
