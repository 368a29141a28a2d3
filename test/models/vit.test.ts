import { describe, expect, test } from "vitest";
import { countParameters } from "../../compiler/index.ts";
import { antialiasedBicubic, configure, trace } from "../../dsl/index.ts";
import { bundled, checkpointTests, exportTests, parityTests } from "./classifiers.ts";

parityTests([
  { name: "vit-class", model: "vit-b-16", layout: 1 },
  { name: "vit-distilled", model: "deit-b-16-distilled", layout: 1 },
  { name: "vit-dinov2", model: "dinov2-vit-g-14", layout: 2 },
  { name: "vit-registers", model: "dinov2-vit-b-14-registers", layout: 0 },
]);

describe("the published sizes", () => {
  test.each([
    ["vit-ti-16", 152, 5_717_416],
    ["vit-s-16", 152, 22_050_664],
    ["vit-b-32", 152, 88_224_232],
    ["vit-b-16", 152, 86_567_656],
    ["vit-l-16", 296, 304_326_632],
    ["vit-h-14", 392, 632_045_800],
    ["deit-ti-16", 152, 5_717_416],
    ["deit-s-16", 152, 22_050_664],
    ["deit-b-16", 152, 86_567_656],
    ["deit-ti-16-distilled", 155, 5_910_800],
    ["deit-s-16-distilled", 155, 22_436_432],
    ["deit-b-16-distilled", 155, 87_338_192],
    ["dinov2-vit-s-14", 174, 22_056_192],
    ["dinov2-vit-b-14", 174, 86_579_712],
    ["dinov2-vit-l-14", 342, 304_367_616],
    ["dinov2-vit-g-14", 566, 1_136_479_232],
  ])("%s has %i tensors and %i parameters", (name, tensors, parameters) => {
    const model = bundled(name);
    const found = countParameters(trace(model));
    // timm has one tensor for queries, keys and values, and one for the two halves of a gated MLP; two each, with the
    // bias.
    const { depth, feedForward } = model.config as { depth: number; feedForward: string };
    const apart = depth * (feedForward === "swiglu" ? 4 + 2 : 4);
    expect([found.tensors - apart, found.parameters]).toEqual([tensors, parameters]);
  });

  test("registers add four tokens", () => {
    const [plain, more] = ["", "-registers"].map(
      (x) => countParameters(trace(bundled(`dinov2-vit-g-14${x}`))).parameters,
    );
    expect(more! - plain!).toBe(4 * 1536);
  });
});

describe("a checkpoint of transformers", () => {
  describe("of ViTForImageClassification", () => checkpointTests({ family: "vit" }));
  describe("of DeiTForImageClassificationWithTeacher", () => checkpointTests({ family: "deit" }));
  describe("of Dinov2WithRegistersForImageClassification", () =>
    checkpointTests({ family: "dinov2", leftOut: /mask_token$/ }));
});

describe("a file", () => {
  exportTests("vit-b-16", { width: 48, depth: 1, heads: 3, mlp: 64, image: 12, patch: 4, classes: 5 });
});

describe("positions", () => {
  test("smoothed are those of torch with antialias", () => {
    // torch.nn.functional.interpolate(torch.tensor([[[[1., 5, 2, 7, 3]]]]), (1, 2), mode="bicubic", antialias=True)
    const [weights, x] = [antialiasedBicubic(5, 2), [1, 5, 2, 7, 3]];
    const made = [0, 1].map((i) => x.reduce((sum, v, j) => sum + v * weights[i * 5 + j]!, 0));
    for (const [i, want] of [3.0142584, 4.5439455].entries()) expect(made[i]).toBeCloseTo(want, 5);
  });

  test("that do not fill the picture are told", () => {
    const model = bundled("vit-b-16");
    expect(() => trace(model, configure(model, { image: 225 } as never))).toThrow(
      /image 225 is not divisible by the patch size, 16/,
    );
  });
});
