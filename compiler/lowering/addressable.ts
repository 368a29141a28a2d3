/** What no kernel can address, whatever the adapter: kernels count in i32, and an array of WGSL has less than 2³² bytes. */
import { UnsupportedError } from "../diagnostics/error.ts";
import type { FusedKernel } from "../fusion/demand.ts";
import { spanOf } from "../fusion/sizes.ts";
import { type Dim, mulDims } from "../ir/dim.ts";
import { dtypeBytes } from "../ir/dtype.ts";
import { inputName, isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { printType } from "../ir/type.ts";

const mostCounted = 2 ** 31 - 1;
const mostBytes = 2 ** 32 - 1;

/** A tensor as errors name it: an input by its name, a value by its op and its module. */
export const tensorName = (node: Node): string => {
  const name = isGraphInput(node)
    ? `"${inputName(node)}"`
    : `the result of ${node.op}${node.path && ` in ${node.path}`}`;
  return `${name} (${printType(node.type)})`;
};

/**
 * Throws UnsupportedError where a kernel walks or binds more than its indices reach. Sizes that are open until a run are
 * no concern here: then the adapter's limit on bindings, which is lower, is checked.
 */
export function assertAddressable(
  { group, axes, stores }: FusedKernel,
  bindings: readonly { readonly root: Node; readonly length: Dim }[],
): void {
  for (const { root, length } of bindings) {
    const { dtype } = root.type;
    const bytes = mulDims(length, dtype === "bool" ? 4 : dtypeBytes[dtype]);
    if (exceeds(bytes, mostBytes))
      throw tooLarge(`a kernel reads or writes ${bytes} bytes of ${tensorName(root)} at once`, `${mostBytes} bytes`);
  }
  const spaces = group ? [group.rows, group.reduced].map((c) => c.map((x) => x.axis)) : [axes];
  const count = spaces.map(spanOf).find((n) => exceeds(n, mostCounted));
  if (count !== undefined)
    throw tooLarge(`${tensorName(stores[0]!.value)} is made from ${count} elements`, `${mostCounted}, the largest i32`);
}

const exceeds = (dim: Dim, most: number): boolean => typeof dim === "number" && dim > most;

const tooLarge = (what: string, most: string) =>
  new UnsupportedError(
    `${what}, and WebGPU kernels reach at most ${most}\n  hint: make an axis shorter, or compute it in parts`,
  );
