/** A product and a vector over its columns are one Gemm, where the product has no other use. */
import { expect, it } from "vitest";
import { encodeOnnx, exportOnnx } from "../../backends/onnx/index.ts";
import { verifyExport } from "../../backends/onnxruntime/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import { hostTensor, makeGraph, type Node, ops, type SizedAxis } from "../../compiler/index.ts";

const sizes = { batch: 3, token: 5, from: 4, heads: 2, dim: 3 };
const axes = (...names: (keyof typeof sizes)[]): SizedAxis[] => names.map((name) => ({ name, size: sizes[name] }));
const input = (name: string, ...of: (keyof typeof sizes)[]) => ops.input(name, "f32", axes(...of));

const x = input("x", "batch", "token", "from");
const weight = input("weight", "heads", "dim", "from"); // transposed, as checkpoints store it
const product = ops.contract(x, weight, ["from"]);

const cases: readonly {
  readonly what: string;
  readonly results: readonly Node[];
  readonly operators: readonly string[];
}[] = [
  { what: "a bias", results: [ops.add(product, input("b", "heads", "dim"))], operators: ["Gemm"] },
  {
    what: "a bias before the product, in another order",
    results: [ops.add(input("b", "dim", "heads"), product)],
    operators: ["Gemm", "Transpose"],
  },
  {
    what: "a scaled product's bias",
    results: [ops.add(ops.mul(product, 0.5), input("b", "heads", "dim"))],
    operators: ["Add", "Gemm"],
  },
  {
    what: "a vector over rows",
    results: [ops.add(product, input("b", "batch", "token"))],
    operators: ["Add", "Gemm"],
  },
  { what: "a part of the columns", results: [ops.add(product, input("b", "dim"))], operators: ["Add", "Gemm"] },
  {
    what: "a product with another use",
    results: [ops.add(product, input("b", "heads", "dim")), ops.neg(product)],
    operators: ["Add", "Gemm", "Neg"],
  },
  {
    what: "a product that is an output",
    results: [ops.add(product, input("b", "heads", "dim")), product],
    operators: ["Add", "Gemm"],
  },
];

it.each(cases)("$what", async ({ results, operators }) => {
  const graph = makeGraph(
    "biases",
    results.map((node, i) => ({ name: `y${i}`, node })),
  );
  const made = exportOnnx(graph, { dialect: "onnxruntime" });
  const present = new Set(made.model.graph!.node!.map((n) => n.opType!));
  expect([...present].filter((type) => !/Reshape|Identity/.test(type)).sort()).toEqual(operators);
  const fed = Object.fromEntries(
    graph.inputs.map((node) => {
      const of = node.type.axes as SizedAxis[];
      const length = of.reduce((n, a) => n * a.size, 1);
      return [
        node.attrs.name as string,
        hostTensor(
          "f32",
          of,
          Float32Array.from({ length }, (_, i) => Math.sin(7 * i)),
        ),
      ];
    }),
  );
  const backend = referenceBackend();
  const want = await (await backend.compile(graph)).run(fed, backend.createStore());
  expect((await verifyExport(await encodeOnnx(made), fed, want)).maxAbsDiff).toBeLessThan(1e-5);
});
