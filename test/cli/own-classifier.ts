/** A model of somebody else's, who knows the language alone: a small ViT with a stage that reads folders of classes. */
import {
  type AnyTensor,
  add,
  axis,
  axisOf,
  constantRate,
  contract,
  convolution,
  crossEntropy,
  defineModel,
  defineStage,
  gelu,
  input,
  layerNorm,
  linear,
  mean,
  merge,
  normal,
  type Params,
  perRow,
  rename,
  scale,
  settled,
  sgd,
  softmax,
  stageData,
} from "../../dsl/index.ts";

const config = { side: 8, patch: 4, width: 12, classes: 2 };
type ViTConfig = { readonly [K in keyof typeof config]: number };

/** pixels [batch, channel, row, column] -> scores [batch, class] */
function classify(p: Params, c: ViTConfig): AnyTensor {
  const batch = axis("batch", "batch");
  const [channel, row, column] = [axis("channel", 3), axis("row", c.side), axis("column", c.side)];
  const [embed, token] = [axis("embed", c.width), axis("token", (c.side / c.patch) ** 2)];
  const pixels = input("pixels", "f32", [batch, channel, row, column]);
  const steps = { kernel: c.patch, stride: c.patch, padding: 0 };
  const map = convolution(p.scope("patches"), pixels, channel, embed, steps);
  const patches = merge(map, [axisOf(map, "row"), axisOf(map, "column")], token);
  const x = layerNorm(p.scope("norm"), patches, [embed]);
  const key = axis("key", token.size);
  const logits = contract(scale(x, c.width ** -0.5), rename(x, token, key), embed);
  const mixed = add(x, contract(softmax(logits, key), rename(x, token, key), key));
  const pooled = mean(gelu(mixed), token);
  return linear(p.scope("head"), pooled, [embed], [axis("class", c.classes)], { init: normal(0.02) });
}

export default defineModel<ViTConfig>({
  name: "own-vit",
  summary: "a small ViT",
  config,
  build: (p, c) => ({ scores: classify(p, c) }),
  stages: {
    classes: (c, given) => {
      const { steps, batch, rate, momentum } = settled({ steps: 20, batch: 4, rate: 0.5, momentum: 0.9 }, given);
      return {
        config: c,
        ...{ steps, batch, rate },
        settings: { momentum },
        startsFrom: ["nothing"],
        stage: defineStage({
          name: "classes",
          loss: (p) => {
            const scores = classify(p, c);
            const label = input("label", "i32", [axisOf(scores, "batch")]);
            return {
              loss: mean(crossEntropy(scores, label, axisOf(scores, "class")), axisOf(scores, "batch")) as never,
            };
          },
          optimizer: { rule: sgd({ momentum }), rate: constantRate(rate), clip: 1 },
        }),
        data: stageData<"labels">({
          kind: "labels",
          image: { size: c.side, fit: "squash" },
          classes: c.classes,
          feeds: (rows) => ({ label: perRow(rows.map((row) => row.label)) }),
        }),
      };
    },
  },
});
