import { afterAll, describe, expect, test } from "vitest";
import { countParameters } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { openSafetensors } from "../../runtime/index.ts";
import { colourData } from "../cli/colour-data.ts";
import { heddle, scratch } from "../cli/support.ts";
import { bundled, checkpointTests, exportTests, parityTests, published } from "./classifiers.ts";

parityTests([
  { name: "resnet-basic", model: "resnet-18", layout: 0 },
  { name: "resnet-bottleneck", model: "resnet-50", layout: 1 },
]);

describe("the published sizes", () => {
  test.each([
    ["resnet-18", 62, 11_689_512],
    ["resnet-34", 110, 21_797_672],
    ["resnet-50", 161, 25_557_032],
    ["resnet-101", 314, 44_549_160],
    ["resnet-152", 467, 60_192_808],
  ])("%s has %i tensors and %i parameters, as torchvision's", (name, tensors, parameters) => {
    const found = countParameters(trace(bundled(name)));
    expect([found.tensors, found.parameters]).toEqual([tensors, parameters]);
  });
});

describe("a checkpoint of ResNetForImageClassification", () => {
  checkpointTests({ family: "resnet", set: ["image=40"], leftOut: /num_batches_tracked$/ });
});

describe("a file", () => {
  exportTests("resnet-50", { image: 21, stem: 8, widths: [16, 64], depths: [1, 1], classes: 40 });
});

describe("the stage classes", () => {
  const folder = scratch("resnet-classes");
  afterAll(() => folder.remove());

  test("goes on from a checkpoint of other classes, and keeps running statistics that classifying reads", async () => {
    await colourData(folder);
    const settings = ["image=24", "batch=3", "steps=2", "workers=0", "classes=3"].flatMap((s) => ["--set", s]);
    const at = ["--device", "cpu", "--runs", folder.at("runs"), "--data", folder.at("classes")];
    const from = ["--from", published("resnet")];
    const ended = await heddle("train", "resnet-50", "--stage", "classes", ...from, ...at, ...settings);
    expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
    expect(ended.err).toContain("initialized with zeros: the weights have 4 classes, not 3");
    const run = folder.at("runs", "resnet-50-classes");
    await using weights = await openSafetensors(run);
    const means = await weights.readTensor("layer1.0.bn2.running_mean");
    expect([...means.data].every((v) => v !== 0 && Math.abs(v) < 10)).toBe(true);
    const image = published("resnet", "picture.png");
    const args = ["--set", "image=24", "--device", "cpu", "--json", "classify", "--image", image];
    const told = await heddle("run", run, ...args);
    expect([told.status, told.status === 0 ? "" : told.err]).toEqual([0, ""]);
    expect((JSON.parse(told.out) as [{ guesses: unknown[] }])[0].guesses).toHaveLength(3);
  });
});
