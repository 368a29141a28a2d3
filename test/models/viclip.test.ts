/** ViCLIP beside an implementation with open_clip's blocks (scripts/reference/clip.py), and its totals and names. */
import { describe, expect, test } from "vitest";
import { countParameters, makeGraph, nodesOf } from "../../compiler/index.ts";
import { checkpointLayout, input, type Model, rootParams, trace, trainingStep } from "../../dsl/index.ts";
import {
  clips,
  comparedByViclip,
  type ViclipConfig,
  viclipFamily,
  viclipLoss,
  viclipRules,
} from "../../models/index.ts";
import { allExecutors, runOnce } from "./executors.ts";
import { joinedDifference, joinedWeights } from "./joined.ts";
import { type Digest, difference, feedsOf, loadFixture, tensorOf, withGradients } from "./support.ts";

const find = (name: string) => viclipFamily.find((m) => m.name === name) as unknown as Model<ViclipConfig>;

describe("the published models", () => {
  test.each([
    // CLIP's vision tower and 8 times; its text tower with 32 positions of 77; the temperature.
    ["viclip-l-14", 303_966_208 + 8 * 1024 + 123_650_304 - 45 * 768 + 1],
    ["viclip-b-16", 86_192_640 + 8 * 768 + 63_428_096 - 45 * 512 + 1],
  ])("%s has %i parameters, for a picture as for a clip", (name, parameters) => {
    const [picture, video] = [trace(find(name)), trace(find(name), {}, { graph: "video" })];
    expect([picture, video].map((g) => countParameters(g).parameters)).toEqual([parameters, parameters]);
    const shapes = new Map(checkpointLayout(video, viclipRules).map((t) => [t.name, t.shape] as const));
    const { width, patch } = find(name).config.vision;
    expect(shapes.get("vision_encoder.conv1.weight")).toEqual([width, 3, 1, patch, patch]);
    expect(shapes.get("vision_encoder.temporal_positional_embedding")).toEqual([1, 8, width]);
    expect(shapes.get("text_encoder.positional_embedding")).toEqual([32, find(name).config.text.width]);
    const tokens = nodesOf(video).flatMap((n) => n.type.axes.filter((a) => a.name === "token").map((a) => a.size));
    expect(tokens).toContain(8 * (224 / patch) ** 2 + 1);
  });
});

interface Facts {
  readonly vision: Omit<ViclipConfig["vision"], "activation" | "epsilon" | "dropPath">;
  readonly text: Omit<ViclipConfig["text"], "activation" | "epsilon">;
  readonly embed: number;
  readonly loss: number;
  readonly gradients: Readonly<Record<string, Digest>>;
}

const quick = { activation: "quick_gelu", epsilon: 1e-5 };
const fixture = await loadFixture<Facts>("viclip");
const { facts } = fixture;
const config = {
  vision: { ...facts.vision, ...quick, dropPath: 0 },
  text: { ...facts.text, ...quick },
  embed: facts.embed,
} as ViclipConfig;

test.each(allExecutors)("clips, a picture, texts and every gradient are the same on $name", async (executor) => {
  const p = rootParams();
  const { loss } = viclipLoss(p, config);
  const seen = clips(config.vision);
  const { image, text } = comparedByViclip(p.shared(), config, seen);
  const axes = seen.type.axes.filter((a) => a.name !== "frame") as never;
  const picture = comparedByViclip(p.shared(), config, input("pixels", "f32", axes)).image;
  const graph = makeGraph("viclip", [
    { name: "clips", node: image },
    { name: "text", node: text },
    { name: "picture", node: picture },
    { name: "loss", node: loss },
  ]);
  const weights = await joinedWeights("viclip", graph, viclipRules);
  const learning = executor.name !== "webgpu"; // SwiftShader compiles the gradients' kernels for ten seconds
  const got = await runOnce(executor, learning ? withGradients(graph) : graph, feedsOf(fixture, graph), weights);
  for (const name of ["clips", "text", "picture"])
    expect(difference(got[name]!.data, tensorOf(fixture, `expected/${name}`).data), name).toBeLessThan(
      executor.tolerance,
    );
  expect(difference(got.loss!.data, [facts.loss])).toBeLessThan(executor.tolerance);
  if (!learning) return;
  const worst = await joinedDifference(got, facts.gradients, graph, viclipRules);
  expect(worst.difference, worst.name).toBeLessThan(10 * executor.tolerance);
});

test("a tenth of the patches is seen while training, and texts are frozen", () => {
  const { vision } = find("viclip-b-16").config;
  const small = { ...find("viclip-b-16").config, vision: { ...vision, depth: 1, image: 80 } };
  const { stage } = find("viclip-b-16").stages!["video-text"]!(small);
  const step = trainingStep(stage);
  expect(step.trained.every((n) => /^(vision\.|temp$)/.test(String(n.attrs.name)))).toBe(true);
  const tokens = nodesOf(step.graph).flatMap((n) => n.type.axes.filter((a) => a.name === "token").map((a) => a.size));
  expect(tokens).toContain(Math.round((8 * 25) / 10) + 1);
});
