/** ResNet-50, forward and a training step, with targets relative to PyTorch's speed. */
import { hostTensor, inputName, isParameter, keepParametersAs } from "../../compiler/index.ts";
import { trace } from "../../dsl/index.ts";
import { type ResnetConfig, resnetModel, resnetStage, stagesOf } from "../model/resnet.ts";
import { join, type MarkContext, type MarkGroup, wallMs } from "./mark.ts";
import { parameterPattern, patternsOf, sampleOf, tensorOf } from "./pattern.ts";
import { halfOptions } from "./precision.ts";
import type { Shapes } from "./shapes.ts";
import { compared, pixelsOf, trainingSteps } from "./steps.ts";

export const resnetOf = (s: Shapes): ResnetConfig => ({
  ...{ batch: s.resnetBatch, image: s.resnetImage, channels: s.resnetChannels, blocks: s.resnetBlocks },
  classes: s.classes,
});

const names = (s: Shapes) => {
  const model = s.resnetBlocks >= 6 && s.resnetChannels === 64 ? "ResNet-50" : "ResNet (small)";
  const what = `${model}, batch ${s.resnetBatch}, ${s.resnetImage} px`;
  return { forward: `${what}, f16: forward`, step: `${what}, f16: training step` };
};

export const resnet: MarkGroup = {
  name: "resnet",
  marks: (s) => ({
    [names(s).forward]: { unit: "ms", first: 0.25, goal: 0.5, ofPeer: true },
    [names(s).step]: { unit: "ms", first: 0.25, goal: 0.5, ofPeer: true },
  }),
  measure: async (context, record) => {
    const { shapes } = context;
    const config = resnetOf(shapes);
    const half = halfOptions(context);
    const common = { stages: stagesOf(config), ...config };
    const found = await forward(context, config);
    record(names(shapes).forward, {
      ...found,
      tolerance: 3e-2,
      peer: { run: "resnet", weights: patternsOf(trace(resnetModel(config))), ...common },
      ...join(half.note),
    });
    const { sample, milliseconds, weights } = await trainingSteps(context, resnetStage(config), config, "f16");
    record(names(shapes).step, {
      value: milliseconds,
      sample,
      tolerance: 3e-2,
      peer: { run: "resnet_train", weights, steps: compared, precision: "f16", ...common },
      ...join(half.note),
    });
  },
};

async function forward(context: MarkContext, config: ResnetConfig) {
  const { backend, shapes } = context;
  const graph = keepParametersAs(trace(resnetModel(config)), "f16");
  const store = backend.createStore();
  const executable = await backend.compile(graph, halfOptions(context).options);
  try {
    for (const node of graph.inputs.filter(isParameter))
      await store.write(
        inputName(node),
        tensorOf(node, parameterPattern(node), node.type.dtype === "f16" ? "f16" : "f32"),
      );
    const { axes, data } = pixelsOf(config);
    const feeds = { pixels: hostTensor("f32", axes, data) };
    const run = () => executable.run(feeds, store);
    const sample = sampleOf((await run()).logits!.data);
    return { sample, value: await wallMs(run, shapes.times) };
  } finally {
    executable.dispose();
    store.dispose();
  }
}
