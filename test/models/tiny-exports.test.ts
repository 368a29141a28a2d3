/** ONNX files in all types of weights, of the models whose own tests write none. */
import { expect, test } from "vitest";
import { parseSettings } from "../../dsl/index.ts";
import { done, inScratch, weightTypes } from "./checkpoint-folder.ts";
import { bundled, exportTests } from "./classifiers.ts";

for (const name of [
  ...["clip-rn50", "eva01-clip-g-14", "eva02-clip-l-14", "eva02-clip-e-14", "viclip-b-16"],
  ...["internvl-c", "internvl-g", "internvit-6b"],
  ...["deit-b-16-distilled", "dinov2-vit-g-14", "resnet-18"],
])
  exportTests(name, parseSettings(bundled(name), ["tiny"]));

exportTests("internlm-7b", parseSettings(bundled("internlm-7b"), ["tiny", "context=24"]));

/** Images and texts, or windows of an image; the command makes up their inputs. */
const others = [
  ["internvit-6b-upernet", []],
  ["internvl-chat-vicuna-7b-qllama", ["--set", "text.context=24"]],
  ["internvl-chat-internlm-7b", ["--set", "text.context=24", "--graph", "prefill"]],
] as const;

test.each(others.flatMap(([name, args]) => weightTypes.map((type) => ({ name, args, type }))))(
  "$name is exported and verified in $type",
  ({ name, args, type }) =>
    inScratch(async (at) => {
      const how = ["--set", "tiny", "--dtype", type, "--opset", "21", "--verify", "--json"];
      const { verified } = JSON.parse(await done("export", name, ...how, ...args, "--out", `${at}/model.onnx`));
      expect(verified.maxRelDiff).toBeLessThan(type === "f16" ? 2e-2 : 1e-5);
      if (type !== "f32") expect(verified.rounding).toBeGreaterThan(0);
    }),
);
