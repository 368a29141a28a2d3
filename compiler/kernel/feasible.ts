/** Whether an adapter can run a kernel, from recorded adapter facts and without a device. */
import { type DType, dtypeBytes } from "../ir/dtype.ts";
import type { KernelFacts, MatrixShape } from "./adapter-facts.ts";
import { rangeOf } from "./expr.ts";
import { type KernelFeature, requiredFeatures } from "./features.ts";
import { type FragmentDecl, fragmentsOf, type Kernel, statements, threadsOf, usesWorkgroupAny } from "./kernel.ts";

const bytesOf = (dtype: DType): number => (dtype === "bool" ? 4 : dtypeBytes[dtype]);

/** Bytes of workgroup memory; arrays, and the variable of workgroup_any, align to 16 bytes (WGSL, section 14.4). */
export const workgroupStorage = (kernel: Kernel): number =>
  kernel.arrays
    .filter((a) => a.space === "workgroup")
    .reduce((sum, a) => sum + Math.ceil((a.length * bytesOf(a.dtype)) / 16) * 16, usesWorkgroupAny(kernel) ? 16 : 0);

/** Whether a device has this subgroup size only, so that a kernel for it need not request the size. */
export const hasOnlySubgroupSize = (
  sizes: KernelFacts["subgroupSizes"] | undefined,
  size: number | undefined,
): boolean => size !== undefined && sizes?.min === size && sizes.max === size;

/** The reasons why an adapter cannot run a kernel, one sentence each; empty if it can. */
export function checkFeasible(kernel: Kernel, facts: KernelFacts): string[] {
  return [
    ...missingFeatures(kernel, facts),
    ...workgroupReasons(kernel, facts),
    ...gridReasons(kernel, facts),
    ...bufferReasons(kernel, facts),
    ...subgroupReasons(kernel, facts),
    ...matrixReasons(kernel, facts),
  ];
}

function missingFeatures(kernel: Kernel, facts: KernelFacts): string[] {
  const given = (f: KernelFeature) =>
    facts.features.has(f) || (f === "subgroup_size" && hasOnlySubgroupSize(facts.subgroupSizes, kernel.subgroupSize));
  return requiredFeatures(kernel)
    .filter((f) => !given(f))
    .map((f) => `the kernel needs ${f}, which the adapter lacks`);
}

function workgroupReasons(kernel: Kernel, facts: KernelFacts): string[] {
  const [threads, bytes] = [threadsOf(kernel), workgroupStorage(kernel)];
  const reasons = ["x", "y", "z"].flatMap((axis, i) =>
    kernel.workgroup[i]! > facts.maxWorkgroupSize[i]!
      ? [
          `the workgroup has ${kernel.workgroup[i]} threads along ${axis}, and the adapter allows ${facts.maxWorkgroupSize[i]}`,
        ]
      : [],
  );
  if (threads > facts.maxWorkgroupInvocations)
    reasons.push(`the workgroup has ${threads} threads, and the adapter allows ${facts.maxWorkgroupInvocations}`);
  if (bytes > facts.maxWorkgroupStorage)
    reasons.push(
      `the kernel needs ${bytes} bytes of workgroup memory, and the adapter has ${facts.maxWorkgroupStorage}`,
    );
  return reasons;
}

function gridReasons(kernel: Kernel, facts: KernelFacts): string[] {
  const most = facts.maxWorkgroupsPerDimension;
  return kernel.grid.flatMap((g, i) => {
    const { max } = rangeOf(g);
    if (max <= most) return [];
    const axis = "xyz"[i];
    if (g.kind === "const") return [`the grid has ${max} workgroups along ${axis}, and the adapter allows ${most}`];
    return [
      `the grid may have ${max} workgroups along ${axis}, and the adapter allows ${most}: bound its sizes, or fold it into two dimensions`,
    ];
  });
}

function bufferReasons(kernel: Kernel, facts: KernelFacts): string[] {
  const { buffers } = kernel;
  const large = buffers.flatMap((b) => {
    const bytes = b.size.kind === "const" ? b.size.value * bytesOf(b.dtype) : 0;
    return bytes > facts.maxBindingBytes
      ? [`${b.name} has ${bytes} bytes, and the adapter allows ${facts.maxBindingBytes} in one binding`]
      : [];
  });
  if (buffers.length <= facts.maxBindings) return large;
  return [`the kernel binds ${buffers.length} buffers, and the adapter allows ${facts.maxBindings}`, ...large];
}

function subgroupReasons(kernel: Kernel, facts: KernelFacts): string[] {
  const lanes = kernel.subgroupSize;
  const { min, max } = facts.subgroupSizes;
  if (lanes === undefined || max === 0) return [];
  if (lanes < min || lanes > max)
    return [
      `the kernel requires subgroup size ${lanes}, and the adapter has ${min === max ? min : `${min} to ${max}`}`,
    ];
  const count = Math.ceil(threadsOf(kernel) / lanes);
  if (count > (facts.maxSubgroups ?? count))
    return [`a workgroup has ${count} subgroups, and the adapter allows ${facts.maxSubgroups}`];
  return [];
}

function matrixReasons(kernel: Kernel, facts: KernelFacts): string[] {
  const offered = facts.matrices.map(shapeText);
  return matrixShapes(kernel)
    .map(shapeText)
    .filter((wanted) => !offered.includes(wanted))
    .map(
      (wanted) =>
        `the kernel multiplies matrices ${wanted}; matrix shapes of the adapter: ${offered.join("; ") || "none"}`,
    );
}

/** The distinct shapes of matrices that a kernel multiplies. */
export function matrixShapes(kernel: Kernel): readonly MatrixShape[] {
  const fragments = new Map(fragmentsOf(kernel).map((f) => [f.name, f]));
  const shapes = new Map<string, MatrixShape>();
  for (const s of statements(kernel.body)) {
    if (s.kind !== "fragment_multiply") continue;
    const shape = shapeOf(fragments.get(s.left)!, fragments.get(s.fragment)!);
    shapes.set(shapeText(shape), shape);
  }
  return [...shapes.values()];
}

const shapeOf = (left: FragmentDecl, result: FragmentDecl): MatrixShape => ({
  m: result.rows,
  n: result.columns,
  k: left.columns,
  operands: left.dtype as MatrixShape["operands"],
  result: result.dtype as MatrixShape["result"],
});

const shapeText = ({ m, n, k, operands, result }: MatrixShape): string => `${operands} to ${result} ${m}x${n}x${k}`;
