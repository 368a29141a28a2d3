/**
 * ConvNeXt as somebody else would write it. Liu et al. 2022, arXiv:2201.03545; names of ConvNextForImageClassification.
 */
import * as h from "../../../dsl/index.ts";

const config = { image: 32, patch: 4, widths: [8, 12], depths: [1, 2], classes: 4 };
type Settings = typeof config & h.Config;
type Map = h.FeatureMap<"batch" | "channel">;

const channels = (size: number) => h.axis("channel", size);

/** Over the channels of each place. */
const norm = (p: h.Params, x: Map, epsilon = 1e-6): Map => h.layerNorm(p, x, [h.axisOf(x, "channel")], epsilon);

function block(p: h.Params, x: Map): Map {
  const channel = h.axisOf(x, "channel");
  const width = channel.size as number;
  const hidden = h.axis("hidden", 4 * width);
  const spread = h.convolution<"batch" | "channel", "channel", "channel">(p.scope("dwconv"), x, channel, channel, {
    kernel: 7,
    groups: width,
  });
  const inner = h.gelu(h.linear(p.scope("pwconv1"), norm(p.scope("layernorm"), spread), [channel], [hidden]));
  const outer: Map = h.linear(p.scope("pwconv2"), inner, [hidden], [channel]);
  return h.add(x, h.mul(outer, p.parameter("layer_scale_parameter", [channel], h.constantInit(1e-6))));
}

function features(p: h.Params, c: Settings): Map {
  const image = h.imageAxes(c.image);
  const pixels = h.input("pixels", "f32", [h.axis("batch", "batch"), image.channel, image.row, image.column]);
  const patches = { kernel: c.patch, stride: c.patch, padding: 0 } as const;
  const stem = p.scope("embeddings");
  let x: Map = h.convolution<"batch" | "channel", "channel", "channel">(
    stem.scope("patch_embeddings"),
    pixels,
    image.channel,
    channels(c.widths[0]!),
    patches,
  );
  x = norm(stem.scope("layernorm"), x);
  for (const [i, width] of c.widths.entries()) {
    const stage = p.scope(`encoder.stages.${i}`);
    if (i > 0) {
      const [before, halving] = [stage.scope("downsampling_layer.0"), stage.scope("downsampling_layer.1")];
      const half = { kernel: 2, stride: 2, padding: 0 } as const;
      x = h.convolution<"batch" | "channel", "channel", "channel">(
        halving,
        norm(before, x),
        h.axisOf(x, "channel"),
        channels(width),
        half,
      );
    }
    for (let j = 0; j < c.depths[i]!; j++) x = block(stage.scope(`layers.${j}`), x);
  }
  return x;
}

function logits(p: h.Params, c: Settings): h.Tensor<"batch" | "label"> {
  const x = features(p.scope("convnext"), c);
  const channel = h.axisOf(x, "channel");
  const pooled = h.mean(x, [h.axisOf(x, "row"), h.axisOf(x, "column")]) as h.Tensor<"batch" | "channel">;
  const normed = h.layerNorm(p.scope("convnext.layernorm"), pooled, [channel], 1e-12);
  return h.linear(p.scope("classifier"), normed, [channel], [h.axis("label", c.classes)]);
}

const both = (path: string, axes: string) => [
  h.same(`${path}.weight`, axes),
  h.same(`${path}.bias`, axes.split(" ")[0]!),
];
const kernel = (from: string) => `channel_out ${from} kernel_row kernel_column`;
const layout: readonly h.TensorRule[] = [
  ...h.under("convnext", "convnext", [
    ...both("embeddings.patch_embeddings", kernel("channel")),
    ...both("embeddings.layernorm", "channel"),
    ...h.under("encoder.stages.{}", "encoder.stages.{}", [
      ...both("downsampling_layer.0", "channel"),
      ...both("downsampling_layer.1", kernel("channel")),
      h.same("layers.{}.dwconv.weight", "group*channel_of_group channel kernel_row kernel_column"),
      h.same("layers.{}.dwconv.bias", "channel"),
      ...both("layers.{}.layernorm", "channel"),
      ...both("layers.{}.pwconv1", "hidden channel"),
      ...both("layers.{}.pwconv2", "channel hidden"),
      h.same("layers.{}.layer_scale_parameter", "channel"),
    ]),
    ...both("layernorm", "channel"),
  ]),
  ...both("classifier", "label channel"),
];

export default h.defineModel<Settings>({
  name: "convnext",
  summary: "ConvNeXt: classes of a picture",
  config,
  build: (p, c) => ({ logits: logits(p, c) }),
  graphs: {
    states: {
      summary: "the last map",
      build: (p, c) => ({ "block.0": features(p.scope("convnext"), c) }),
    },
  },
  stages: {
    classes: (c, given) => {
      const { steps, batch, rate } = h.settled({ steps: 12, batch: 4, rate: 0.01 }, given);
      return {
        config: c,
        ...{ steps, batch, rate },
        startsFrom: ["nothing"],
        stage: h.defineStage({
          name: "classes",
          loss: (p) => {
            const scores = logits(p, c);
            const rows = h.axisOf(scores, "batch");
            return {
              loss: h.mean(h.crossEntropy(scores, h.input("label", "i32", [rows]), h.axisOf(scores, "label")), rows),
            };
          },
          optimizer: { rate: h.cosine({ peak: rate, steps }) },
        }),
        data: h.stageData<"labels">({
          kind: "labels",
          image: { size: c.image, fit: "crop" },
          classes: c.classes,
          feeds: (samples) => ({ label: h.perRow(samples.map((s) => s.label)) }),
        }),
      };
    },
  },
  modes: { features: { graph: "states" }, classify: { output: "logits" } },
  preprocessing: { ...h.imagenetPreprocessing },
  checkpoints: { layouts: [layout] },
});
