/** What is kept with the parameters and not learned. */
import { describe, expect, test } from "vitest";
import { countParameters, makeGraph, parseGraph, printGraph, zeros } from "../../compiler/index.ts";
import {
  axis,
  batchNorm,
  constantRate,
  defineStage,
  input,
  mean,
  mul,
  rootParams,
  trainingStep,
} from "../../dsl/index.ts";

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

test("an option that a parameter does not have is named", () => {
  const make = () => rootParams().parameter("x", [channel], zeros, { bufer: true } as never);
  expect(make).toThrow(/parameter has no option "bufer"; did you mean "buffer"\?/);
});
