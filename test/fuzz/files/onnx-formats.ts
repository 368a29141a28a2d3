/** ONNX files: a model exported by heddle, with and without external data, and those of onnx's own tests. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { exportOnnx, importOnnx } from "../../../backends/onnx/index.ts";
import { openOnnx, writeOnnx } from "../../../backends/onnx/node-index.ts";
import { hostTensor, inputName, printGraph, type SizedAxis, verifyGraph } from "../../../compiler/index.ts";
import { readNodeTests } from "../../onnx/import/node-tests.ts";
import { preNormBlock } from "../../support/pre-norm-block.ts";
import type { Format } from "./format.ts";

/** Takes one in this many of onnx's tests, which still covers all kinds of operators. */
const every = 40;
const folder = fileURLToPath(new URL("../../onnx/import/nodes", import.meta.url));

async function readWhole(path: string): Promise<void> {
  const { graph, parameters } = await openOnnx(path);
  verifyGraph(graph, "import");
  printGraph(graph);
  for (const { read, node } of parameters.values()) {
    const { data, axes } = await read();
    if (data.length !== axes.reduce((n, a) => n * a.size, 1)) throw new Error(`${inputName(node)} is not of its shape`);
  }
}

export const onnxFormats: readonly Format[] = [
  {
    name: "onnx-import",
    write: async (into) => {
      const graph = preNormBlock();
      const model = exportOnnx(graph);
      const weights = (p: (typeof graph.inputs)[number]) => {
        const axes = p.type.axes as readonly SizedAxis[];
        return hostTensor("f32", axes, new Float32Array(axes.reduce((n, a) => n * a.size, 1)).fill(0.5));
      };
      await writeOnnx(join(into, "whole.onnx"), model, weights);
      await writeOnnx(join(into, "apart.onnx"), model, weights, { external: true });
      const tests = (await soundTests()).map(({ name, model: bytes }) => {
        writeFileSync(join(into, `${name}.onnx`), bytes);
        return `${name}.onnx`;
      });
      return ["whole.onnx", "apart.onnx", "apart.onnx.data", ...tests];
    },
    read: (at, file) => readWhole(join(at, file.replace(/\.data$/, ""))),
  },
];

/** Models of onnx's tests that import without options. */
async function soundTests() {
  const found = [];
  for (const test of readNodeTests(folder).filter((_, i) => i % every === 0)) {
    const isSound = await importOnnx(test.model).then(
      () => true,
      () => false,
    );
    if (isSound) found.push(test);
  }
  return found;
}
