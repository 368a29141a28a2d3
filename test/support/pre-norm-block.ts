/** A pre-norm block with a symbolic number of tokens; weights in the published layout, [out, in]. */
import { type Graph, makeGraph, type Node, normal, ops, symbol } from "../../compiler/index.ts";

const sizes = { embed: 48, heads: 4, width: 12, hidden: 64 } as const;
const axis = (name: keyof typeof sizes) => ({ name, size: sizes[name] });
const parameter = (name: string, ...axes: (keyof typeof sizes)[]) =>
  ops.parameter(name, "f32", axes.map(axis), normal(0.02));

export function preNormBlock(): Graph {
  const x = ops.input("x", "f32", [
    { name: "batch", size: symbol("batch") },
    { name: "token", size: symbol("tokens") },
    axis("embed"),
  ]);
  const normed = ops.rmsNorm(x, parameter("norm1.weight", "embed"), ["embed"], 1e-6);
  const project = (name: string) =>
    ops.contract(normed, parameter(`attn.${name}.weight`, "heads", "width", "embed"), ["embed"]);
  const keys = (t: Node) => ops.rename(t, "token", "key");
  const roles = { dot: "width", over: "key", scale: 0.5 };
  const mixed = ops.attention(project("q"), keys(project("k")), keys(project("v")), roles);
  const y = ops.add(
    x,
    ops.contract(mixed, parameter("attn.out.weight", "embed", "heads", "width"), ["heads", "width"]),
  );
  const inner = ops.silu(ops.contract(y, parameter("mlp.up.weight", "hidden", "embed"), ["embed"]));
  const z = ops.add(y, ops.contract(inner, parameter("mlp.down.weight", "embed", "hidden"), ["hidden"]));
  return makeGraph("block", [{ name: "z", node: z }], [x]);
}
