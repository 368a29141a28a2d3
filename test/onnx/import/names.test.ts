/** Names of a file's inputs, outputs and sizes: any text is a name there, and different names stay different. */
import { expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { graphSymbols, inputName, isFeed, printType } from "../../../compiler/index.ts";
import { type Dims, file, floats } from "./small-file.ts";

/** The two inputs negated, under the given names. */
const negated = (inputs: readonly [string, Dims][], outputs: readonly string[]) =>
  importOnnx(
    file(
      Object.fromEntries(inputs),
      [],
      outputs.map((name, i) => ["Neg", [inputs[i]![0]], name]),
      Object.fromEntries(outputs.map((name, i) => [name, inputs[i]![1]])),
    ),
  );

const two: Dims = ["n", 3];
const prefix = `model/${"x".repeat(200)}`;

it.each([
  ["of any script", ["输入 /x", "é"], ["out put", "ß"]],
  ["of characters outside the basic plane", ["🙂", "🙃"], ["😀", "😃"]],
  ["longer than what errors show", [`${prefix}1`, `${prefix}2`], [`${prefix}3`, `${prefix}4`]],
])("keeps names %s", async (_what, inputs, outputs) => {
  const { graph, notes } = await negated([[inputs[0]!, two], [inputs[1]!, two]], outputs); // biome-ignore format: a pair
  expect(graph.inputs.filter(isFeed).map(inputName)).toEqual(inputs);
  expect(graph.outputs.map((o) => o.name)).toEqual(outputs);
  expect(notes.filter((note) => note.endsWith("in the file"))).toEqual([]);
});

it("replaces control characters, keeps what they distinguish apart, and says so", async () => {
  const { graph, notes } = await negated([["a\n", two], ["a\t", two], ["a_", two]], ["y\n", "y\u0000", "y_"]); // biome-ignore format: triples
  expect(graph.inputs.filter(isFeed).map(inputName)).toEqual(["a__2", "a__3", "a_"]);
  expect(graph.outputs.map((o) => o.name)).toEqual(["y__2", "y__3", "y_"]);
  expect(notes).toContain('the input "a__3" is "a\\t" in the file');
  expect(notes).toContain('the output "y__3" is "y\\u0000" in the file');
});

it("keeps sizes apart whose names in the file have no letters that a size's name may have", async () => {
  const { graph, notes } = await negated([["a", ["批次", "长度"]], ["b", ["批次", "宽"]]], ["y", "z"]); // biome-ignore format: a pair
  expect(graph.inputs.map((n) => printType(n.type))).toEqual([
    "f32[a_dim0=size, a_dim1=size_2]",
    "f32[b_dim0=size, b_dim1=size_3]",
  ]);
  expect(notes).toContain('the size "size_3" is "宽" in the file');
});

it("keeps sizes apart whose names differ in blanks and signs, and from the one that they would become", async () => {
  const { graph } = await negated([["a", ["a b", "a-b"]], ["b", ["a_b", "2 * a_b + a b"]]], ["y", "z"]); // biome-ignore format: a pair
  expect(graph.inputs.map((n) => n.type.axes.map((a) => String(a.size)))).toEqual([
    ["a_b_2", "a_b_3"],
    ["a_b", "_2_a_b_a_b"],
  ]);
  expect(graphSymbols(graph)).toHaveLength(4);
});

it("fixes a size under the name that it was given", async () => {
  const made = await importOnnx(file({ x: ["batch size", 3] }, [], [["Neg", ["x"], "y"]], { y: ["batch size", 3] }), {
    sizes: { batch_size: 5 },
  });
  expect(printType(made.graph.inputs[0]!.type)).toBe("f32[x_dim0=5, x_dim1=3]");
});

it("gives two images without named sides one batch and sides of their own, which an option can make equal", async () => {
  const image: Dims = ["", 1, "", ""];
  const filter = floats("w", [1, 1, 1, 1]);
  const twoImages = file(
    { a: image, b: image },
    [filter],
    [
      ["Conv", ["a", "w"], "y"],
      ["Conv", ["b", "w"], "z"],
    ],
    { y: image, z: image },
  );
  const sides = async (sizes?: Record<string, string>) =>
    (await importOnnx(twoImages, sizes && { sizes })).graph.inputs.filter(isFeed).map((n) => printType(n.type));
  expect(await sides()).toEqual([
    "f32[batch=batch, channel=1, row=row, column=column]",
    "f32[batch=batch, channel=1, row=row_2, column=column_2]",
  ]);
  expect((await sides({ row_2: "row", column_2: "column" }))[1]).toBe(
    "f32[batch=batch, channel=1, row=row, column=column]",
  );
});
