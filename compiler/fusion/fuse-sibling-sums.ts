/**
 * Fuses column sums, such as the gradients of biases and norm scales, horizontally into a kernel that reads the same
 * tensor: they get workgroups of their own in its dispatch. Alone they have too few threads to keep an adapter busy;
 * beside a contraction they are almost free.
 */
import type { Node } from "../ir/node.ts";
import { countRegions, type FusedKernel, type Fusion, type Storage } from "./fused-kernel.ts";
import type { FusionLimits } from "./materialize.ts";
import { typicalSpan } from "./sizes.ts";

/** Kinds of kernels that can host sums, preferred first: compute-bound kernels have memory bandwidth to spare. */
const hosts = ["contraction", "row_reduction"] as const;

/** Moves column sums into earlier kernels; the result is in an order in which it can run. */
export function fuseSiblingSums(fusion: Fusion, limits: FusionLimits): Fusion {
  const kernels: FusedKernel[] = [];
  const readers = new Map<Node, number[]>();
  for (const kernel of fusion.kernels) {
    const at = isSumOfColumns(kernel) ? hostOf(kernel, kernels, readers, fusion.storage, limits) : undefined;
    if (at !== undefined) {
      kernels[at] = withSibling(kernels[at]!, kernel);
      continue;
    }
    for (const r of kernel.reads) (readers.get(r) ?? readers.set(r, []).get(r)!).push(kernels.length);
    kernels.push(kernel);
  }
  return { ...fusion, kernels };
}

const withSibling = (host: FusedKernel, sum: FusedKernel): FusedKernel => ({
  ...host,
  stores: [...host.stores, ...sum.stores],
  siblings: [...(host.siblings ?? []), sum],
});

/** Whether a kernel reduces over outer axes of its largest operand: adjacent results read adjacent elements. */
function isSumOfColumns({ kind, group, stores, reads }: FusedKernel): boolean {
  if (kind !== "row_reduction" || !group) return false;
  const known = [...group.rows, ...group.reduced].every((c) => typeof c.axis.size === "number");
  const rows = typicalSpan(group.rows.map((c) => c.axis));
  const results = stores.every((s) => typicalSpan(s.value.type.axes) <= rows);
  const size = (n: Node) => typicalSpan(n.type.axes);
  const largest = [...reads].reduce<Node | undefined>(
    (best, n) => (best && size(best) >= size(n) ? best : n),
    undefined,
  );
  const last = largest?.type.axes.at(-1);
  const index = last && group.names.get(last.name);
  return known && results && group.rows.some((c) => c.index === index);
}

/**
 * The last earlier kernel that reads everything the sum reads. The sum's operands are then ready when that kernel
 * starts, and its users still run after both.
 */
function hostOf(
  sum: FusedKernel,
  kernels: readonly FusedKernel[],
  readers: ReadonlyMap<Node, readonly number[]>,
  storage: ReadonlyMap<Node, Storage>,
  limits: FusionLimits,
): number | undefined {
  const [first] = sum.reads;
  const candidates = (readers.get(first!) ?? []).filter((i) => {
    const host = kernels[i]!;
    const places = [...host.stores, ...sum.stores].map((s) => s.to);
    const regions = countRegions([...places, ...[...host.reads].map((r) => storage.get(r) ?? { root: r })]);
    return [...sum.reads].every((r) => host.reads.has(r)) && regions <= limits.maxBindings;
  });
  for (const kind of hosts) {
    const found = candidates.findLast((i) => kernels[i]!.kind === kind);
    if (found !== undefined) return found;
  }
  return undefined;
}
