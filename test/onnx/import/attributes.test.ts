/** Attributes of nodes: zeros that a writer leaves out, beside onnxruntime, and values of the wrong type. */
import { describe, expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { printGraph } from "../../../compiler/index.ts";
import { computedTwice, fileOf } from "./in-onnxruntime.ts";
import { floats, info } from "./small-file.ts";

const text = new TextEncoder().encode("zero");
const node = (opType: string, attribute: readonly object[], input = ["x"]) => ({
  ...{ opType, input, output: ["y"], name: "here" },
  attribute,
});
const graph = (...nodes: readonly object[]) =>
  fileOf({ node: nodes, initializer: [], input: [info("x", [2, 3])], output: [info("y", [2, 3])] });

describe("an attribute whose 0 is left out, as writers of proto3 do,", () => {
  it.each([
    { what: "an integer", file: graph(node("Softmax", [{ name: "axis", type: 2 }])) },
    { what: "a float", file: graph(node("LeakyRelu", [{ name: "alpha", type: 1 }])) },
    {
      what: "the value of a Constant",
      file: graph(
        { opType: "Constant", input: [], output: ["c"], name: "c", attribute: [{ name: "value_float", type: 1 }] },
        node("Mul", [], ["x", "c"]),
      ),
    },
  ])("is 0, not the default: $what", async ({ file }) => {
    const x = { type: "float32", dims: [2, 3], values: [1, -2, 3, -4, 5, -6] } as const;
    const [y] = await computedTwice(file, { x });
    for (const [i, value] of y!.made.entries()) expect(value).toBeCloseTo(y!.want[i]!, 6);
  });
});

describe("an attribute of the wrong type is refused", () => {
  it.each([
    ["Softmax", { name: "axis", type: 3, s: text }, "the attribute axis is a string; expected an integer"],
    ["Softmax", { name: "axis", type: 1, f: 1 }, "the attribute axis is a float; expected an integer"],
    ["LeakyRelu", { name: "alpha", type: 2, i: 1 }, "the attribute alpha is an integer; expected a float"],
    ["Transpose", { name: "perm", type: 2, i: 0 }, "the attribute perm is an integer; expected a list of integers"],
    ["Cast", { name: "to", type: 3, s: text }, "the attribute to is a string; expected an integer"],
    ["Softmax", { name: "axis", type: 99, i: 0 }, "the attribute axis is of type 99; expected an integer"],
  ])("of %s: %o", async (operator, attribute, says) => {
    await expect(importOnnx(graph(node(operator, [attribute])))).rejects.toThrow(`node "here" (${operator}): ${says}`);
  });

  it("but taken as it is where a file of IR version 1 has no types", async () => {
    const { graph: read } = await importOnnx(graph(node("Softmax", [{ name: "axis", i: 0 }])));
    expect(printGraph(read)).toMatch(/softmax %x axis x_dim0/);
  });
});

describe("an attribute of no meaning is refused", () => {
  const map = (opType: string, input: readonly string[], attribute: readonly object[]) =>
    fileOf({
      node: [node(opType, attribute, [...input])],
      initializer: [floats("w", [1, 1, 1, 1])],
      input: [info("x", [1, 1, 4, 4])],
      output: [info("y", [1, 1, 4, 4])],
    });
  const said = (name: string, value: string) => ({ name, type: 3, s: new TextEncoder().encode(value) });

  it.each([
    ["Conv", ["x", "w"]],
    ["ConvTranspose", ["x", "w"]],
    ["MaxPool", ["x"]],
  ])("auto_pad of %s", async (operator, input) => {
    const kernel = { name: "kernel_shape", type: 7, ints: [1, 1] };
    const file = map(operator, input, [kernel, said("auto_pad", "SAME")]);
    await expect(importOnnx(file)).rejects.toThrow('auto_pad is "SAME"; expected one of NOTSET, VALID, SAME_UPPER');
  });

  it.each([
    ["ij->ii", "names i twice"],
    ["ij->zj", "names z which no operand has"],
  ])("the result of Einsum %s", async (equation, says) => {
    const file = graph(node("Einsum", [said("equation", equation)]));
    await expect(importOnnx(file)).rejects.toThrow(`node "here" (Einsum): the result of "${equation}" ${says}`);
  });
});
