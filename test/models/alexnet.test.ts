import { describe, expect, test } from "vitest";
import { countParameters } from "../../compiler/index.ts";
import { configure, trace } from "../../dsl/index.ts";
import { bundled, checkpointTests, exportTests, parityTests } from "./classifiers.ts";

parityTests([{ name: "alexnet", model: "alexnet", layout: 0 }]);

test("has the parameters of torchvision's", () => {
  const { tensors, parameters } = countParameters(trace(bundled("alexnet")));
  expect([tensors, parameters]).toEqual([16, 61_100_840]);
});

test("says which pictures are too small", () => {
  expect(() => configure(bundled("alexnet"), { image: 62 } as never)).toThrow(/alexnet.image is 62.*from 63/);
});

describe("weights of torchvision", () => checkpointTests({ family: "alexnet" }));

describe("a file", () => {
  exportTests("alexnet", { image: 63, widths: [4, 4, 4, 4, 8], hidden: 48, classes: 5 });
});
