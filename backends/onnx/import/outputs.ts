/** The results of a model, in the layout that its file says. */
import { type Dim, type Node, ops } from "../../../compiler/index.ts";
import { renamed } from "./values.ts";

/** The node with its dimensions in ONNX's order, those of 1 as axes too, under the names that the file says. */
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
