/** What no kernel can address, whatever the adapter. */
import { UnsupportedError } from "../diagnostics/error.ts";
import { type FusedKernel, spanOf } from "../fusion/index.ts";
import type { Dim } from "../ir/dim.ts";
import { inputName, isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { printType } from "../ir/type.ts";

/** Kernels count in i32. */
const mostElements = 2 ** 31 - 1;

/** Bytes of the largest array that WGSL has, and so of what a kernel can bind. */
export const largestArray = 2 ** 32 - 1;

/** A tensor as errors name it: an input by its name, a value by its op and its module. */
export function tensorName(node: Node): string {
  const inside = node.path === "" ? "" : ` in ${node.path}`;
  const name = isGraphInput(node) ? `"${inputName(node)}"` : `the result of ${node.op}${inside}`;
  return `${name} (${printType(node.type)})`;
}

/**
 * Throws UnsupportedError where a kernel walks or binds more elements than its indices reach. Sizes that are open until a
 * run are no concern here: the adapter's limit on bindings, which is lower, is checked then.
 */
export function assertAddressable(
  { group, axes, stores }: FusedKernel,
  bindings: readonly { readonly root: Node; readonly length: Dim }[],
): void {
  const wide = bindings.find((b) => exceeds(b.length));
  if (wide) throw tooLarge(`a kernel reads or writes ${wide.length} elements of ${tensorName(wide.root)}`);
  const spaces = group ? [group.rows, group.reduced].map((c) => c.map((x) => x.axis)) : [axes];
  const count = spaces.map(spanOf).find(exceeds);
  if (count !== undefined) throw tooLarge(`${tensorName(stores[0]!.value)} is made from ${count} elements`);
}

const exceeds = (dim: Dim): boolean => typeof dim === "number" && dim > mostElements;

const tooLarge = (what: string) =>
  new UnsupportedError(
    `${what}, and kernels count to ${mostElements}, the largest i32\n  hint: make an axis shorter, or compute it in parts`,
  );
