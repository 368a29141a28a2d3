/**
 * CLIP by the command line, with a checkpoint and a tokenizer as transformers write them (scripts/reference/clip.py).
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { checkpointLayout, type Model, trace } from "../../dsl/index.ts";
import { type ClipConfig, clipCodec, clipFamily, clipRules, openClipRules } from "../../models/index.ts";
import { openSafetensors, openWeights, tensorsInLayout, writeSafetensors } from "../../runtime/index.ts";
import { colourData } from "./colour-data.ts";
import { heddle, scratch } from "./support.ts";

vi.setConfig({ testTimeout: 120_000 });

const folder = scratch("clip");
const published = fileURLToPath(new URL("../fixtures/clip", import.meta.url));
const read = <T>(...path: string[]): T => JSON.parse(readFileSync(join(...path), "utf8")) as T;
const clip = clipFamily[0] as unknown as Model<ClipConfig>;
const onCpu = ["--device", "cpu"];

beforeAll(() => colourData(folder));
afterAll(() => folder.remove());

const succeeded = async (...args: string[]) => {
  const ended = await heddle(...args);
  expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
  return ended;
};

describe("an OpenAI-shaped CLIP", () => {
  it("says of a picture file and texts what transformers says", async () => {
    const want = read<{ labels: string[]; logits: number[]; probabilities: number[] }>(published, "expected.json");
    const texts = ["--image", join(published, "picture.png"), "--labels", want.labels.join()];
    const ended = await succeeded("run", published, "--weights", published, ...onCpu, "--json", "classify", ...texts);
    const [{ guesses }] = JSON.parse(ended.out) as [
      { guesses: { label: string; logit: number; probability: number }[] },
    ];
    expect(guesses).toHaveLength(want.labels.length);
    for (const { label, logit, probability } of guesses) {
      const at = want.labels.indexOf(label);
      expect(Math.abs(logit - want.logits[at]!)).toBeLessThan(1e-4);
      expect(Math.abs(probability - want.probabilities[at]!)).toBeLessThan(1e-4);
    }
    expect(ended.err).toContain("images: 24 × 24, crop, bicubic, mean 0.4815 0.4578 0.4082");
  });

  it("is converted and converted back without a changed element, by OpenCLIP's tensors too", async () => {
    const graph = trace(clip, clipCodec.read(read(published, "config.json"), clip.config));
    const [apart, joined] = [clipRules, openClipRules].map((rules) => checkpointLayout(graph, rules));
    const weights = await openWeights(published, graph, [apart!, joined!]);
    const open = folder.at("open_clip_model.safetensors");
    await writeSafetensors(open, tensorsInLayout(joined!, weights));
    await weights.dispose();
    const sizes = Object.entries(clipCodec.read(read(published, "config.json"), clip.config)).flatMap(
      ([group, value]) =>
        typeof value === "number"
          ? ["--set", `${group}=${value}`]
          : Object.entries(value).flatMap(([key, of]) => ["--set", `${group}.${key}=${of}`]),
    );
    const out = folder.at("converted");
    await succeeded("convert", "clip-vit-l-14", "--weights", open, "--out", out, ...sizes);
    await using ours = await openSafetensors(out);
    await using theirs = await openSafetensors(published);
    expect([...ours.tensors.keys()].sort()).toEqual([...theirs.tensors.keys()].sort());
    for (const [name, { shape }] of theirs.tensors) {
      expect([name, ours.tensors.get(name)!.shape]).toEqual([name, shape]);
      expect((await ours.readTensor(name)).data).toEqual((await theirs.readTensor(name)).data);
    }
    const config = (at: string) => clipCodec.read(read(at, "config.json"), clip.config);
    expect(config(out)).toEqual(config(published));
  });

  it("is trained on, from the checkpoint, with its tokenizer", async () => {
    const settings = ["workers=0", "batch=3", "steps=2", "rate=1e-3"].flatMap((s) => ["--set", s]);
    const tokens = ["--tokenizer", join(published, "tokenizer.json")];
    const data = ["--stage", "contrastive", "--data", folder.at("pairs"), ...tokens];
    const at = ["--runs", folder.at("runs"), "--from", published];
    await succeeded("train", "clip-vit-b-32", ...data, ...onCpu, ...at, ...settings);
    const trained = folder.at("runs", "clip-vit-b-32-contrastive");
    expect(read(trained, "config.json")).toMatchObject({ model_type: "clip", text_config: { eos_token_id: 58 } });
    const maps = ["features", "--image", join(published, "picture.png"), "--out", folder.at("maps")];
    await succeeded("run", trained, "--weights", trained, ...onCpu, ...maps);
    await using reader = await openSafetensors(folder.at("maps", "picture.safetensors"));
    expect(reader.tensors.get("block.2")!.shape).toEqual([3, 3, 12]);
  });
});

/** Models at a size that exports at once. */
const set = (...settings: readonly string[]) => settings.flatMap((s) => ["--set", s]);
const text = ["width=32", "depth=1", "heads=2", "mlp=64", "vocab=64", "context=5", "eos=63"].map((s) => `text.${s}`);
const seen = ["width=32", "depth=1", "heads=2", "mlp=44", "image=12", "patch=4"].map((s) => `vision.${s}`);
const resnet = ["width=2", "blocks=[1,1,1,1]", "image=32", "heads=2"].map((s) => `vision.${s}`);

describe.each([
  ["CLIP", [published, "--weights", published]],
  ["CLIP's ResNet", ["clip-rn50", ...set(...resnet, ...text, "embed=32")]],
  ["EVA-02-CLIP", ["eva02-clip-b-16", ...set(...seen, ...text, "embed=32")]],
  ["ViCLIP", ["viclip-b-16", "--graph", "video", ...set(...seen, "vision.frames=3", ...text, "embed=32")]],
])("%s", (_, model) => {
  it("is exported in f32, f16, int8 and int4 and verified", async () => {
    for (const dtype of ["f32", "f16", "int8", "int4"]) {
      const out = ["--out", folder.at("model.onnx"), "--dtype", dtype, "--opset", "21"];
      const { verified } = JSON.parse((await succeeded("export", ...model, ...out, "--verify", "--json")).out);
      expect(Object.keys(verified.perOutput)).toEqual(["image", "text", "scale"]);
      expect(verified.maxRelDiff, dtype).toBeLessThan(dtype === "f16" ? 2e-2 : 1e-5);
      if (dtype !== "f32") expect(verified.rounding, dtype).toBeGreaterThan(0);
    }
  });
});
