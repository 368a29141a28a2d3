/** Limits on what any kernel can address, whatever the adapter. */
import { UnsupportedError } from "../diagnostics/error.ts";
import { type FusedKernel, spanOf } from "../fusion/index.ts";
import type { Dim } from "../ir/dim.ts";
import { inputName, isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { printType } from "../ir/type.ts";

/** Kernel indices are i32. */
const mostElements = 2 ** 31 - 1;

/** Bytes of the largest array in WGSL, and so of the largest binding. */
export const largestArray = 2 ** 32 - 1;

/** A tensor as error messages name it: an input by its name, any other value by its op and module. */
export function tensorName(node: Node): string {
  const inside = node.path === "" ? "" : ` in ${node.path}`;
  const name = isGraphInput(node) ? `"${inputName(node)}"` : `the result of ${node.op}${inside}`;
  return `${name} (${printType(node.type)})`;
}

/**
 * Throws UnsupportedError if a kernel iterates over or binds more elements than an i32 index can reach. Open sizes are
 * not checked here: the adapter's limit on bindings, which is lower, is checked at run time.
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
    `${what}; kernels index with i32, up to ${mostElements} elements\n  hint: make an axis shorter, or compute it in parts`,
  );
