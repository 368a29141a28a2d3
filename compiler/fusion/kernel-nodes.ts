/** Facts about a fused kernel: its name, the nodes that it computes, and the memory traffic that fusion saves. */
import { addDims, type Dim, mulDims } from "../ir/dim.ts";
import type { Node } from "../ir/node.ts";
import { isElementwise, sourceOf } from "../ir/op.ts";
import { isCore } from "./cores.ts";
import { type FusedKernel, piecesOf } from "./fused-kernel.ts";
import { deviceBytes } from "./sizes.ts";

/**
 * The module path of a kernel and the ops that it begins and ends with: "blocks.3.norm/reduce_sum+mul". A reduction has
 * no parameters, so its path is that of its operand; the path of the last op is used instead.
 */
export function kernelName(kernel: FusedKernel): string {
  const [fused] = piecesOf(kernel);
  const core = fused.group?.cores[0];
  const last = fused.stores.at(-1)!.value;
  const ops = core && core !== last ? `${core.op}+${last.op}` : last.op;
  const { path } = core && fused.kind !== "row_reduction" ? core : last;
  return path ? `${path}/${ops}` : ops;
}

/** The nodes that a kernel computes, operands before users, without its reads and source nodes. */
export function computedNodes({ stores, reads }: FusedKernel): Node[] {
  const order: Node[] = [];
  const seen = new Set<Node>();
  const visit = (node: Node): void => {
    if (seen.has(node) || reads.has(node) || sourceOf(node) !== undefined) return;
    seen.add(node);
    node.operands.forEach(visit);
    order.push(node);
  };
  for (const { value } of stores) visit(value);
  return order;
}

/**
 * Bytes that unfused kernels would write and read back for the values that this kernel computes and uses itself.
 * Movement ops have no kernels of their own in either case.
 */
export function bytesSaved(fused: FusedKernel): Dim {
  const computed = computedNodes(fused);
  const stored = new Set(fused.stores.map((s) => s.value));
  const used = new Set(computed.flatMap((n) => n.operands));
  return computed.reduce<Dim>((total, node) => {
    if (!used.has(node) || !(isElementwise(node) || isCore(node))) return total;
    return addDims(total, mulDims(stored.has(node) ? 1 : 2, deviceBytes(node)));
  }, 0);
}
