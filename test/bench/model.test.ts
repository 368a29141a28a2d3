import { InferenceSession, Tensor } from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { smallVit } from "../../bench/cases.ts";
import { batchFeeds, fillStore } from "../../bench/heddle/train-vit.ts";
import { drawBatch, drawWeights, normals, plainWeights } from "../../bench/model/values.ts";
import { type BlockConfig, blockModel, type VitConfig, vitStage } from "../../bench/model/vit.ts";
import { blockModel as onnxBlock } from "../../bench/peers/onnxruntime/model.ts";
import { compileKernels, hostTensor, type SizedAxis } from "../../compiler/index.ts";
import { trace, trainingStep } from "../../dsl/index.ts";
import { withoutSplits } from "../kernels/support.ts";
import { plainBlock, plainLoss } from "./plain-vit.ts";

const tinyBlock: BlockConfig = { batch: 2, tokens: 3, width: 8, heads: 2, mlp: 12 };
const tinyVit: VitConfig = { ...tinyBlock, tokens: 5, depth: 2, image: 4, patch: 2, classes: 3 };

const graph = trace(blockModel(tinyBlock));
const weights = drawWeights(graph.inputs.filter((n) => n.op === "parameter"));
const { batch, tokens, width } = tinyBlock;
const x = normals("x", batch * tokens * width);

/** Rows of `size` elements. */
const rows = (data: ArrayLike<number>, size: number): number[][] =>
  Array.from({ length: data.length / size }, (_, i) => Array.from(data).slice(i * size, (i + 1) * size));

/** What the block makes of x in plain loops, from the weights that peers are given. */
const expected = rows(x, tokens * width).flatMap((image) =>
  plainBlock(plainWeights(weights), "", rows(image, width), tinyBlock).flat(),
);

const close = (got: ArrayLike<number>, wanted: readonly number[], tolerance: number) => {
  expect(got.length).toBe(wanted.length);
  for (const [i, v] of wanted.entries()) expect(Math.abs(got[i]! - v), `element ${i}`).toBeLessThan(tolerance);
};

describe("the measured block", () => {
  test("is the same for heddle as in plain loops on the peers' weights", async () => {
    const backend = referenceBackend();
    const store = backend.createStore();
    for (const [name, value] of weights) await store.write(name, value);
    const axes = graph.inputs.find((n) => n.op === "input")!.type.axes as readonly SizedAxis[];
    const executable = await backend.compile(graph);
    const { y } = await executable.run({ x: hostTensor("f32", axes, x) }, store);
    close(y!.data, expected, 1e-9);
  });

  test("is the same as an ONNX model", async () => {
    const session = await InferenceSession.create(onnxBlock(tinyBlock, plainWeights(weights)));
    const { y } = await session.run({ x: new Tensor("float32", x, [batch, tokens, width]) });
    close(y!.data as Float32Array, expected, 1e-5);
  });
});

describe("the measured training step", () => {
  test("begins with the loss of plain loops on the peers' weights and batch", async () => {
    const backend = referenceBackend();
    const store = backend.createStore();
    const step = trainingStep(vitStage(tinyVit));
    const initial = drawWeights(step.trained);
    await fillStore(store, step, initial);
    const { loss } = await (await backend.compile(step.graph)).run(batchFeeds(tinyVit), store);
    const { pixels, label } = drawBatch(tinyVit);
    const losses = rows(pixels.data, pixels.data.length / tinyVit.batch).map((image, i) =>
      plainLoss(plainWeights(initial), image, label[i]!, tinyVit),
    );
    close(loss!.data, [losses.reduce((a, b) => a + b, 0) / losses.length], 1e-9);
  });

  test("updates every weight, so that a later loss depends on every gradient", async () => {
    const backend = referenceBackend();
    const store = backend.createStore();
    const step = trainingStep(vitStage(tinyVit));
    await fillStore(store, step, drawWeights(step.trained));
    const before = await store.read(step.arenas[0]!.parameters);
    await (await backend.compile(step.graph)).run(batchFeeds(tinyVit), store);
    const after = await store.read(step.arenas[0]!.parameters);
    for (const { name, offset, length } of step.arenas[0]!.layout.entries) {
      const part = (t: typeof before) => Array.from(t.data.subarray(offset, offset + length));
      expect(part(after), name).not.toEqual(part(before));
    }
  });

  test("is fewer than 110 dispatches, but for sums of split products", () => {
    const { graph: full, arenas } = trainingStep(vitStage(smallVit));
    expect(arenas[0]!.layout.entries).toHaveLength(4 * 12 + 8);
    expect(withoutSplits(compileKernels(full))).toBeLessThan(110);
  });
});
