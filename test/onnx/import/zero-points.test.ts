/** Zero points and scales of integer products: each one for all columns, or one per column. */
import { expect, it } from "vitest";
import { importOnnx } from "../../../backends/onnx/index.ts";
import { file, floats } from "./small-file.ts";

const bytes = (name: string, dims: readonly number[], int32Data: readonly number[]) => ({
  ...{ name, dims: [...dims], dataType: 2, int32Data: [...int32Data] },
});
const weight = [10, 130, 7, 200, 128, 0];

it.each([
  { zeros: [128], scales: [0.5, 2, 3] },
  { zeros: [1, 2, 3], scales: [0.5] },
  { zeros: [1, 2, 3], scales: [0.5, 2, 3] },
])("zero points $zeros with scales $scales", async ({ zeros, scales }) => {
  const dims = (of: readonly number[]) => (of.length === 1 ? [] : [of.length]);
  const product = file(
    { x: ["rows", 2] },
    [bytes("w", [2, 3], weight), bytes("w.zero", dims(zeros), zeros), floats("w.scale", dims(scales), scales)],
    [
      ["DynamicQuantizeLinear", ["x"], ["units", "step", "zero"]],
      ["MatMulInteger", ["units", "w", "zero", "w.zero"], "sums"],
      ["Cast", ["sums"], "wide", { to: 1 }],
      ["Mul", ["step", "w.scale"], "scale"],
      ["Mul", ["wide", "scale"], "y"],
    ],
    { y: ["rows", 3] },
  );
  const { parameters } = await importOnnx(product, { name: "product" });
  const read = await parameters.get("w")!.read();
  const at = (of: readonly number[], column: number) => of[of.length === 1 ? 0 : column]!;
  expect([...read.data]).toEqual(weight.map((q, i) => (q - at(zeros, i % 3)) * at(scales, i % 3)));
});
