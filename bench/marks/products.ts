/** f16 matrix products in the layouts of a training step: forward, and both gradients. */
import { type Graph, makeGraph, type Node, ops } from "../../compiler/index.ts";
import { halfOr, join, kernelsMs, type MarkContext, type MarkGroup } from "./mark.ts";
import { parameterPattern, patternsOf, sampleOf, tensorOf } from "./pattern.ts";

const layouts = ["NN", "NT", "TN"] as const;
type Layout = (typeof layouts)[number];

const parameter = (name: string, dtype: "f32" | "f16", axes: Node["type"]["axes"]): Node =>
  ops.parameter(name, dtype, axes, { kind: "normal", mean: 0, std: 0.6 });

/** A product written to state, so that runs transfer nothing. N: the operand is stored by rows; T: transposed. */
export function productGraph(layout: Layout, side: number, dtype: "f32" | "f16"): Graph {
  const [m, k, n] = ["m", "k", "n"].map((name) => ({ name, size: side })) as [Axis, Axis, Axis];
  const a = parameter("a", dtype, layout[0] === "T" ? [k, m] : [m, k]);
  const b = parameter("b", dtype, layout[1] === "T" ? [n, k] : [k, n]);
  return intoStates(`product-${layout}`, { y: ops.contract(a, b, ["k"]) });
}

type Axis = Node["type"]["axes"][number];

/** A graph whose outputs stay on the device. */
export function intoStates(name: string, results: Readonly<Record<string, Node>>): Graph {
  const outputs = Object.entries(results).map(([key, node]) => ({ name: key, node }));
  const states = outputs.map((o) => ops.state(`kept.${o.name}`, o.node.type.dtype, o.node.type.axes));
  const updates = Object.fromEntries(outputs.map((o) => [o.name, `kept.${o.name}`]));
  return makeGraph(name, outputs, states, updates);
}

/** Fills a graph's parameters with their patterns and its state with zeros, then times it. */
export async function measureKernels(context: MarkContext, graph: Graph, dtype: "f32" | "f16", sampled: string) {
  const { backend, shapes } = context;
  const store = backend.createStore();
  const executable = await backend.compile(graph);
  try {
    for (const node of graph.inputs) {
      const pattern = parameterPattern(node);
      const start = node.op === "parameter" ? pattern : { ...pattern, scale: 0, base: 0 };
      await store.write(String(node.attrs.name), tensorOf(node, start, dtype));
    }
    const { [sampled]: output } = await executable.run({}, store, { fetch: [sampled] });
    const sample = sampleOf(output!.data);
    return { sample, milliseconds: await kernelsMs(context, executable, store, shapes.times) };
  } finally {
    executable.dispose();
    store.dispose();
  }
}

export const products: MarkGroup = {
  name: "product",
  marks: ({ product }) =>
    Object.fromEntries(layouts.map((l) => [nameOf(l, product), { unit: "TFLOP/s", first: 180, goal: 350 } as const])),
  measure: async (context, record) => {
    const { product: side } = context.shapes;
    const { dtype, note } = halfOr(context);
    for (const layout of layouts) {
      const graph = productGraph(layout, side, dtype);
      const { sample, milliseconds } = await measureKernels(context, graph, dtype, "y");
      record(nameOf(layout, side), {
        value: (2 * side ** 3) / milliseconds / 1e9,
        sample,
        tolerance: 5e-3,
        peer: { run: "product", layout, dtype, weights: patternsOf(graph) },
        ...join(note),
      });
    }
  },
};

const nameOf = (layout: Layout, side: number): string => `f16 product ${side}³ ${layout}`;
