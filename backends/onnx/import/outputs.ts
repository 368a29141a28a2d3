/** Model outputs in the file's layout. */
import { type Dim, type Node, ops } from "../../../compiler/index.ts";
import { renamed } from "./values.ts";

/** The node with its axes in ONNX's order, including size-1 axes, named as in the file. */
export function asOutput(
  node: Node,
  shape: readonly Dim[],
  axes: readonly (string | undefined)[],
  said: readonly string[],
): Node {
  const order: string[] = [];
  const isName = (name: string | undefined, at: number): name is string =>
    name !== undefined && /^[A-Za-z_]\w*$/.test(name) && said.indexOf(name) === at;
  const wanted = shape.map((_, i) => (isName(said[i], i) ? said[i] : undefined));
  for (const [i] of shape.entries()) {
    const own = wanted[i] ?? (wanted.includes(axes[i]) ? undefined : axes[i]) ?? `axis_${i}`;
    let name = own;
    for (let n = 2; order.includes(name) || (wanted.includes(name) && wanted.indexOf(name) !== i); n++)
      name = `${own}_${n}`;
    order.push(name);
  }
  const named = renamed(node, axes, order);
  const ones = shape.flatMap((size, i) => (size === 1 ? [{ name: order[i]!, size: 1 }] : []));
  return ops.transpose(ops.broadcast(named, ones), order);
}
