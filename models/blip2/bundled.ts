/** BLIP-2's Q-Former as a model that commands know by name, with its first stage. */
import {
  axis,
  axisOf,
  cosine,
  defineModel,
  defineStage,
  type Model,
  positive,
  rename,
  type SettingRules,
  type StageRecipe,
  scaledWarmUp,
  settled,
  transpose,
  whole,
} from "../../dsl/index.ts";
import { qformerLoss } from "./losses.ts";
import {
  askedQueries,
  blip2Qformer,
  matching,
  normedVision,
  type QformerConfig,
  queryFeatures,
  textFeature,
  textInput,
  visionInput,
  written,
} from "./qformer.ts";
import { qformerHubRules, qformerRules } from "./weights.ts";

const sizes = whole(1, 2 ** 20);
const rules: SettingRules = {
  ...Object.fromEntries(Object.keys(blip2Qformer).map((key) => [key, sizes])),
  depth: whole(1, 1000),
  context: whole(2, 2 ** 20),
  epsilon: positive,
  visionEpsilon: positive,
};

/**
 * Representation learning: 250,000 steps of 1680 pairs beside ViT-g (section 3.4). No data of commands has features instead of
 * pictures, so this is for jobs that feed `vision` and `ids` themselves.
 */
export const qformerStage: StageRecipe<QformerConfig> = (c, given) => {
  const published = { steps: 250_000, batch: 1680, rate: 1e-4 };
  const s = settled(published, given);
  const { warmup, notes } = scaledWarmUp(2000, published.steps, s.steps);
  return {
    ...s,
    config: c,
    notes,
    stage: defineStage({
      name: "blip2-1",
      loss: (p) => qformerLoss(p, c),
      optimizer: {
        rate: cosine({ peak: s.rate, steps: s.steps, warmup }),
        beta1: 0.9,
        beta2: 0.98,
        weightDecay: 0.05,
      },
    }),
    startsFrom: ["BERT-base"],
  };
};

export const blip2QformerModel = defineModel<QformerConfig>({
  name: "blip2-qformer",
  summary: "BLIP-2's Q-Former on given features of an image: 32 queries, compared with a text and matched",
  config: blip2Qformer,
  configs: {
    tiny: {
      ...{ width: 16, depth: 2, heads: 2, mlp: 32, vocab: 264, positions: 64, queries: 4, embed: 8 },
      ...{ visionTokens: 5, visionWidth: 16 },
    },
  },
  rules,
  stages: { "1": qformerStage },
  checkpoints: { layouts: [qformerRules, qformerHubRules] },
  paper: { source: "Li et al. 2023, arXiv:2301.12597" },
  build: (p, c) => {
    const [vision, ids] = [normedVision(p, visionInput(c), c), textInput(c)];
    const features = queryFeatures(p, askedQueries(p, vision, c), c);
    const [query, feature] = [axis("query", c.queries), axisOf(features, "feature")];
    const batch = axisOf(ids, "batch");
    const again = p.shared(); // the Q-Former is one, whatever passes it makes
    return {
      image: transpose(rename(features, axisOf(features, "token"), query), [batch, query, feature]),
      text: transpose(textFeature(again, ids, c), [batch, feature]),
      match: matching(again, vision, ids, c),
    };
  },
  graphs: {
    caption: {
      summary: "a text as it is written from an image: scores of the next word at each",
      build: (p, c) => ({ logits: written(p, normedVision(p, visionInput(c), c), textInput(c), c).logits }),
    },
  },
});

/** All of the family. */
export const blip2Family: readonly Model[] = [blip2QformerModel as unknown as Model];
