/**
 * Random norms between products that have rows enough for tiles: what products around a norm may do for it, and what
 * they may not.
 */
import { type Axis, makeGraph, type Node, type Output, ops, symbol } from "../../compiler/index.ts";
import { seededChooser } from "../support/random-graph.ts";
import { addInput, type Draft, freshAxis, pick, shuffled } from "../support/random-steps.ts";
import type { FuzzCase } from "./random-case.ts";

const chance = (d: Draft, one: number): boolean => d.choose(one) === 0;

export function normCase(seed: number): FuzzCase {
  const options = { ops: () => true, sizes: [1], maxElements: 1, jumps: false, f16: false, symbols: false };
  const d: Draft = { choose: seededChooser(seed), options, values: [], declared: [], fresh: 0 };
  const input = (axes: readonly Axis[]) => addInput(d, "f32", axes).node;
  const isOpen = chance(d, 4);
  const rows = freshAxis(
    d,
    isOpen ? symbol("rows", { min: pick(d, [1, 33, 64]), max: 80 }) : pick(d, [17, 32, 33, 65, 70]),
  );
  const batch = chance(d, 2) ? [freshAxis(d, 2)] : [];
  const [depth, width] = [freshAxis(d, pick(d, [16, 32, 33, 40])), freshAxis(d, pick(d, [32, 64, 64, 96, 128, 60]))];
  const lines = [...batch, rows];
  const product = ops.contract(input([...lines, depth]), input([depth, width]), [depth.name]);
  const order = chance(d, 4)
    ? shuffled(
        d,
        product.type.axes.map((a) => a.name),
      )
    : product.type.axes.map((a) => a.name);
  const stream = chance(d, 6)
    ? product
    : ops.transpose(ops.add(ops.add(product, input([width])), input([...lines, width])), order);
  const normed = normOf(d, stream, width, input);
  const outputs: Output[] = [{ name: "stream", node: stream }];
  for (let i = 0; i <= d.choose(3); i++) {
    const out = freshAxis(d, pick(d, [16, 31, 32, 40, 64]));
    // Rows may be on either side of a product, and what follows may need the norm too.
    const [x, w] = [normed, input(chance(d, 2) ? [width, out] : [out, width])];
    const y = chance(d, 4) ? ops.contract(w, x, [width.name]) : ops.contract(x, w, [width.name]);
    outputs.push({ name: `y${i}`, node: chance(d, 3) ? ops.gelu(ops.mul(y, 0.1)) : y });
  }
  if (chance(d, 5)) outputs.push({ name: "normed", node: normed });
  if (chance(d, 5)) outputs.push({ name: "sums", node: ops.reduceSum(normed, [width.name]) });
  return {
    graph: makeGraph("norms", outputs, d.declared),
    bindings: isOpen ? [{ rows: 67 }, { rows: 80 }] : [{}],
    open: isOpen,
  };
}

function normOf(d: Draft, x: Node, { name, size }: Axis, input: (axes: readonly Axis[]) => Node): Node {
  const weight = [{ name, size }];
  switch (d.choose(4)) {
    case 0:
      return ops.rmsNorm(x, input(weight), [name], 0.01);
    case 1:
      return ops.layerNorm(ops.add(x, 1000), input(weight), input(weight), [name], 0.01);
    case 2:
      return ops.l2Normalize(x, [name], 0.01);
    default:
      return ops.layerNorm(x, input(weight), input(weight), [name], 0.01);
  }
}
