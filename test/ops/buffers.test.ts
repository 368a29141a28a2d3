/** What is kept with the parameters and not learned. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { countParameters, hostTensor, makeGraph, ones, parseGraph, printGraph, zeros } from "../../compiler/index.ts";
import {
  axis,
  type BatchNormOptions,
  batchNorm,
  buffer,
  constantRate,
  defineStage,
  input,
  mean,
  mul,
  rootParams,
  trainingStep,
} from "../../dsl/index.ts";
import { train } from "../../runtime/index.ts";

const at = (size: number) => ({ name: "channel", size });
const [batch, channel] = [axis("batch", 4), axis("channel", 3)];
const norm = () => batchNorm(rootParams().scope("bn"), input("x", "f32", [batch, channel]), channel, { updates: [] });

describe("running statistics", () => {
  test("are buffers: stored, and in no count of parameters", () => {
    const graph = makeGraph("norm", [{ name: "y", node: norm() }]);
    expect(countParameters(graph)).toMatchObject({ parameters: 6, tensors: 2, buffers: 6, bytes: 48 });
    const text = printGraph(graph);
    expect(text.match(/role buffer/g)).toHaveLength(2);
    expect(printGraph(parseGraph(text, "norm.graph"))).toBe(text);
    expect(() => parseGraph(text.replace("role buffer", "role bufer"), "norm.graph")).toThrow(/the role is "bufer"/);
  });

  test("that a loss reads are not trained", () => {
    const stage = defineStage({
      name: "still",
      optimizer: { rate: constantRate(0.1) },
      loss: (p) => {
        const y = mul(input("x", "f32", [batch, channel]), p.parameter("weight", [channel], zeros));
        return { loss: mean(mul(y, p.parameter("kept", [channel], zeros, { buffer: true })), [batch, channel]) };
      },
    });
    const { trained, frozen } = trainingStep(stage);
    expect([trained, frozen].map((nodes) => nodes.map((n) => n.attrs.name))).toEqual([["weight"], ["kept"]]);
  });
});

describe("batch norm in training", () => {
  const stageOf = (options: BatchNormOptions) =>
    defineStage({
      name: "normed",
      trainable: ["scale"],
      optimizer: { rate: constantRate(0.1) },
      loss: (p) => {
        const y = batchNorm(p.scope("bn"), input("x", "f32", [batch, channel]), channel, options);
        return { loss: mean(mul(y, p.parameter("scale", [channel], ones)), [batch, channel]) };
      },
    });

  test("with frozen statistics reads those that were loaded, and writes them as they were", async () => {
    const folder = mkdtempSync(join(tmpdir(), "heddle-buffers-"));
    onTestFinished(() => rmSync(folder, { recursive: true }));
    const given = { "bn.running_mean": [1, 2, 3], "bn.running_var": [4, 9, 16], "bn.weight": [2, 3, 4] };
    const values = new Map(Object.entries(given).map(([name, data]) => [name, hostTensor("f32", [at(3)], data)]));
    const x = Array.from({ length: 12 }, (_, i) => i);
    const { losses, weights } = await train(
      {
        ...{ step: trainingStep(stageOf({ frozen: true, epsilon: 0 })), steps: 1, sizes: {}, seed: 1 },
        ...{ checkpointEvery: 10, initial: async (name) => values.get(name) },
        async *batches() {
          yield { feeds: { x: hostTensor("f32", [{ name: "batch", size: 4 }, at(3)], x) }, next: 1 };
        },
      },
      { folder, backend: referenceBackend(), note: () => {} },
    );
    const normed = x.map((value, i) => value - given["bn.running_mean"][i % 3]!); // 2/√4 = 3/√9 = 4/√16 = 1
    expect(losses[0]!.loss).toBeCloseTo(normed.reduce((a, b) => a + b) / 12, 5);
    for (const [name, data] of Object.entries(given)) expect([...weights.get(name)!.data]).toEqual(data);
  });
});

test("a buffer that a loss reads must be updated by it", () => {
  const stage = defineStage({
    name: "counted",
    optimizer: { rate: constantRate(0.1) },
    loss: (p) => {
      const queue = buffer(p.scope("moco"), "queue", [channel], zeros);
      return { loss: mean(mul(queue.value, p.parameter("scale", [channel], ones)), channel) };
    },
  });
  expect(() => trainingStep(stage)).toThrow(
    /stage "counted": the loss reads the buffer "moco\.queue", but does not return its update\n {2}hint: /,
  );
});

test("an update that a loss makes must be among those that it returns", () => {
  const stage = defineStage({
    name: "normed",
    optimizer: { rate: constantRate(0.1) },
    loss: (p) => ({
      loss: mean(batchNorm(p.scope("bn"), input("x", "f32", [batch, channel]), channel, { updates: [] }), [
        batch,
        channel,
      ]),
    }),
  });
  expect(() => trainingStep(stage)).toThrow(
    /stage "normed": the update of the buffer "bn\.running_mean" and 1 more is not among those that the loss returns.*\n {2}hint: /,
  );
});

test("an option that a parameter does not have is named", () => {
  const make = () => rootParams().parameter("x", [channel], zeros, { bufer: true } as never);
  expect(make).toThrow(/parameter has no option "bufer"; did you mean "buffer"\?/);
});
