/** Imported graphs as models: training, composition with other tensors, and the commands that take them. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { encodeOnnx, exportOnnx, importOnnx } from "../../../backends/onnx/index.ts";
import { writeOnnx } from "../../../backends/onnx/node-index.ts";
import { referenceBackend } from "../../../backends/reference/index.ts";
import { hostTensor, inputName, printGraph } from "../../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  applyGraph,
  axis,
  constantRate,
  defineStage,
  input,
  mean,
  mul,
  type Params,
  rootParams,
  sub,
  trainingStep,
  typed,
} from "../../../dsl/index.ts";
import { openSafetensors, train } from "../../../runtime/index.ts";
import { heddle, scratch } from "../../cli/support.ts";
import { layer, weightsOf } from "./small-layer.ts";

const folder = scratch("onnx-models");
afterAll(() => folder.remove());

describe("training", () => {
  it("moves what a pattern names, as of any model, and the result is exported", async () => {
    const { graph } = await importOnnx(await encodeOnnx(exportOnnx(layer()), weightsOf));
    const loss = (p: Params) => {
      const off = sub(applyGraph(p, graph).y!, 1);
      return { loss: typed<never>(mean(mul(off, off), off.type.axes as Axis[])) };
    };
    const optimizer = { rate: constantRate(0.1), weightDecay: 0 };
    const step = trainingStep(defineStage({ name: "tune", trainable: ["head.bias"], optimizer, loss }));
    expect([step.trained, step.frozen].map((list) => list.map(inputName))).toEqual([["head.bias"], ["head.weight"]]);
    const x = hostTensor(
      "f32",
      [
        { name: "batch", size: 2 },
        { name: "in", size: 64 },
      ],
      new Float32Array(128).fill(0.1),
    );
    const at = folder.at("run");
    mkdirSync(at);
    await train(
      {
        ...{ step, steps: 60, sizes: { batch: 2 }, seed: 1, checkpointEvery: 60 },
        async *batches() {
          for (;;) yield { feeds: { x }, next: 0 };
        },
      },
      { folder: at, backend: referenceBackend(), note: () => {} },
    );
    const losses = readFileSync(join(at, "metrics.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { loss: number }).loss);
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 100);
    const tuned = await heddle(
      "export",
      writtenGraph(printGraph(graph)),
      "--weights",
      join(at, "model.safetensors"),
      "--out",
      folder.at("tuned.onnx"),
      "--verify",
    );
    expect([tuned.status, tuned.err]).toEqual([0, ""]);
  });

  it("takes tensors in place of inputs, and says where they do not fit", async () => {
    const { graph } = await importOnnx(await encodeOnnx(exportOnnx(layer()), weightsOf));
    const rows = input("rows", "f32", [axis("batch", 3), axis("in", 64)]);
    const { y } = applyGraph(rootParams(), graph, { x: mul(rows, 2) });
    expect(y!.type.axes.find((a) => a.name === "batch")!.size).toBe(3);
    const wrong = (inputs: Record<string, AnyTensor>) => () => applyGraph(rootParams(), graph, inputs);
    expect(wrong({ z: rows })).toThrow('graph @layer has no input "z"');
    expect(wrong({ x: input("rows", "f32", [axis("batch", 3), axis("in", 32)]) })).toThrow(
      "but the given tensor is f32[batch=3, in=32]",
    );
  });
});

/** A .graph file of the text. */
function writtenGraph(text: string): string {
  writeFileSync(folder.at("tuned.graph"), text);
  return folder.at("tuned.graph");
}

describe("heddle import", () => {
  it("writes a graph and its weights, which other commands take; they take the file as well", async () => {
    const path = folder.at("layer.onnx");
    await writeOnnx(path, exportOnnx(layer()), weightsOf);
    const made = await heddle("import", path, "--out", folder.at("out"), "--json");
    expect([made.status, made.err]).toEqual([0, ""]);
    expect(JSON.parse(made.out)).toMatchObject({
      parameters: 2,
      openSizes: ["batch"],
      inputs: { x: "f32[batch=batch, in=64]" },
    });
    await using reader = await openSafetensors(folder.at("out", "model.safetensors"));
    expect([...reader.tensors.keys()].sort()).toEqual(["head.bias", "head.weight"]);
    const again = folder.at("again.onnx");
    const graph = await heddle(
      "export",
      folder.at("out", "model.graph"),
      "--weights",
      folder.at("out", "model.safetensors"),
      "--out",
      again,
      "--verify",
    );
    expect([graph.status, graph.err]).toEqual([0, ""]);
    const direct = await heddle("export", path, "--out", folder.at("direct.onnx"), "--verify");
    expect([direct.status, direct.err]).toEqual([0, ""]);
    expect(readFileSync(folder.at("direct.onnx"))).toEqual(readFileSync(again));
    const whole = await heddle("inspect", folder.at("out"));
    expect([whole.status, whole.err]).toEqual([
      1,
      expect.stringContaining(`give "${folder.at("out", "model.graph")}"`),
    ]);
    const missing = await heddle("import", folder.at("none.onnx"), "--out", folder.at("none"));
    expect([missing.status, missing.err]).toEqual([1, expect.stringContaining("cannot be read")]);
  });
});
