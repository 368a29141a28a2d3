/** A model of somebody else's: two towers without a transformer, compared by cosine. */
import {
  axis,
  contract,
  cosine,
  crossEntropy,
  defineModel,
  defineStage,
  embedding,
  input,
  iota,
  l2Normalize,
  linear,
  mean,
  normal,
  type Params,
  rename,
  scale,
  settled,
  stageData,
  type Tensor,
  textRows,
} from "../../dsl/index.ts";

const config = { side: 4, words: 24, vocab: 259, embed: 8 };
type TowersConfig = { readonly [K in keyof typeof config]: number };

const batch = axis("batch", "batch");

function towers(p: Params, c: TowersConfig) {
  const feature = axis("feature", c.embed);
  const [channel, row, column, token] = [
    axis("channel", 3),
    axis("row", c.side),
    axis("column", c.side),
    axis("token", c.words),
  ];
  const pixels = input("pixels", "f32", [batch, channel, row, column]);
  const ids = input("ids", "i32", [batch, token]);
  const image = linear(p.scope("image"), pixels, [channel, row, column], [feature], { init: normal(0.2) });
  const text = mean(embedding(p.scope("text"), ids, axis("vocab", c.vocab), feature, 0.2), token);
  return {
    image: l2Normalize(image, feature),
    text: l2Normalize(text as Tensor<"batch" | "feature">, feature),
    feature,
  };
}

export default defineModel<TowersConfig>({
  name: "own-towers",
  summary: "two towers",
  config,
  build: (p, c) => {
    const { image, text } = towers(p, c);
    return { image, text };
  },
  stages: {
    contrast: (c, given) => {
      const { steps, batch: rows, rate } = settled({ steps: 30, batch: 4, rate: 0.05 }, given);
      return {
        config: c,
        ...{ steps, batch: rows, rate },
        startsFrom: ["nothing"],
        stage: defineStage({
          name: "contrast",
          loss: (p) => {
            const { image, text, feature } = towers(p, c);
            const pair = axis("pair", batch.size);
            const logits = scale(contract(image, rename(text, batch, pair), feature), 10);
            return { loss: mean(crossEntropy(logits, iota(batch), pair), batch) };
          },
          optimizer: { rate: cosine({ peak: rate, steps }) },
        }),
        data: stageData<"pairs">({
          kind: "pairs",
          image: { size: c.side, fit: "squash" },
          vocabulary: c.vocab,
          feeds: (samples, { text }) => ({
            ids: textRows(
              text,
              samples.map((s) => s.text),
              c.words,
            ),
          }),
        }),
      };
    },
  },
});
