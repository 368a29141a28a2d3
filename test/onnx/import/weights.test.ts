/** Weights of imported files: quantized ones, and those that lie in other files. */
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, expect, it } from "vitest";
import { encodeOnnx, exportOnnx, importOnnx } from "../../../backends/onnx/index.ts";
import { openOnnx, writeOnnx } from "../../../backends/onnx/node-index.ts";
import { decodeModel, encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";
import { inputName } from "../../../compiler/index.ts";
import { scratch } from "../../cli/support.ts";
import { attribute, file, floats, info } from "./small-file.ts";
import { layer, valuesOf, weightsOf } from "./small-layer.ts";

const folder = scratch("onnx-weights");
afterAll(() => folder.remove());

/** The bytes of a file's integers. */
const integersOf = (bytes: Uint8Array) =>
  decodeModel(bytes)
    .graph!.initializer!.filter((t) => [2, 3, 22].includes(t.dataType!))
    .map((t) => Buffer.from(t.rawData!).toString("hex"));

it.each([
  ["int8", "standard"],
  ["int4", "standard"],
  ["int8", "onnxruntime"],
  ["int4", "onnxruntime"],
] as const)("of %s, %s, come in as floats, and go out as the same integers", async (dtype, dialect) => {
  const first = await encodeOnnx(exportOnnx(layer(), { dtype, dialect, opset: 21 }), weightsOf);
  const { graph, parameters } = await importOnnx(first);
  expect([...parameters.keys()].sort()).toEqual(["head.bias", "head.weight"]);
  const values = await valuesOf(parameters);
  const again = await encodeOnnx(exportOnnx(graph, { dtype, dialect, opset: 21 }), (p) => values.get(inputName(p)));
  expect(integersOf(again)).toEqual(integersOf(first));
  const second = await valuesOf((await importOnnx(again)).parameters);
  expect(second.get("head.weight")!.data).toEqual(values.get("head.weight")!.data);
});

it("of MatMulNBits are what their blocks say", async () => {
  // One column of 32 rows, two in a byte, the first in the lower half: 0 to 15 twice, times 0.5, less 8.
  const packed = {
    name: "q",
    dims: [1, 1, 16],
    dataType: 2,
    rawData: Uint8Array.from({ length: 16 }, (_, i) => ((2 * i) & 15) | (((2 * i + 1) & 15) << 4)),
  };
  const bytes = encodeModel({
    ...{
      irVersion: 8,
      opsetImport: [
        { domain: "", version: 21 },
        { domain: "com.microsoft", version: 1 },
      ],
    },
    graph: {
      ...{ name: "bits", input: [info("x", ["rows", 32])], output: [info("y", ["rows", 1])] },
      initializer: [packed, floats("s", [1], [0.5])],
      node: [
        {
          ...{ opType: "MatMulNBits", domain: "com.microsoft", input: ["x", "q", "s"], output: ["y"] },
          attribute: (Object.entries({ K: 32, N: 1, bits: 4, block_size: 32 }) as [string, number][]).map(attribute),
        },
      ],
    },
  } as ModelProto);
  const { graph, parameters } = await importOnnx(bytes);
  const { q } = Object.fromEntries(await valuesOf(parameters));
  expect(Array.from(q!.data)).toEqual(Array.from({ length: 32 }, (_, i) => ((i % 16) - 8) * 0.5));
  expect(graph.outputs[0]!.node.type.axes.map((a) => String(a.size))).toEqual(["rows", "1"]);
});

it("in another file are read from the folder of the model alone, links followed", async () => {
  mkdirSync(folder.at("inside"), { recursive: true });
  const path = folder.at("inside", "m.onnx");
  await writeOnnx(path, exportOnnx(layer()), weightsOf, { external: true });
  const { parameters } = await openOnnx(path);
  const { data } = await parameters.get("head.weight")!.read();
  expect(data.length).toBe(64 * 64);
  expect(Array.from(data)).toContain(Math.fround(Math.sin(70) / 8));
  writeFileSync(folder.at("secret.bin"), new Uint8Array(64));
  symlinkSync(folder.at("secret.bin"), folder.at("inside", "link"));
  for (const location of ["../secret.bin", folder.at("secret.bin"), "link", ".", "x/../../secret.bin", "\0"]) {
    writeFileSync(folder.at("inside", "bad.onnx"), apart(location));
    await expect(openOnnx(folder.at("inside", "bad.onnx"))).rejects.toThrow("which is not a file in its folder");
  }
  await expect(importOnnx(apart("link"))).rejects.toThrow("only the bytes of the model");
  for (const location of ["..plain", "...", "..folder/plain"]) {
    mkdirSync(dirname(folder.at("inside", location)), { recursive: true });
    writeFileSync(folder.at("inside", location), new Uint8Array(64));
    writeFileSync(folder.at("inside", "good.onnx"), apart(location));
    await expect(openOnnx(folder.at("inside", "good.onnx")), location).resolves.toBeDefined();
  }
});

/** A file whose one weight lies somewhere else. */
function apart(location: string): Uint8Array {
  const external = [{ key: "location", value: location }];
  const w = { name: "w", dims: [16], dataType: 1, dataLocation: 1, externalData: external };
  return file({ x: [16] }, [w], [["Add", ["x", "w"], "y"]], { y: [16] });
}
