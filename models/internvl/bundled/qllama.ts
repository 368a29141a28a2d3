/** QLLaMA alone, on given features of an image. */
import { axis, defineModel, input, transpose } from "../../../dsl/index.ts";
import { paper, stepSummary } from "../common-records.ts";
import { idsInput } from "../contrastive.ts";
import { qllamaPrefill, qllamaStep } from "../decoding.ts";
import { familyCheckpoints } from "../inheritance.ts";
import { internvit6b, type VisionConfig, type VisionTokens } from "../internvit.ts";
import { languageHead, textAxes } from "../llama.ts";
import { qllamaMacs } from "../macs.ts";
import { type QllamaConfig, qllama, qllama8b } from "../qllama.ts";
import { qllamaAloneSettings } from "../setting-rules.ts";
import { tiny } from "../tiny.ts";
import { generativeRules } from "../weights.ts";

/** Settings of QLLaMA on given features of an image. */
export interface QllamaModelConfig extends QllamaConfig {
  readonly visionWidth: number;
  /** Image tokens, class token included. */
  readonly visionTokens: number;
}

const qllamaConfig: QllamaModelConfig = { ...qllama8b, visionWidth: internvit6b.width, visionTokens: 257 };

/** The image encoder whose features a stand-alone QLLaMA takes, for counting. */
const encoderOf = (c: QllamaModelConfig): VisionConfig => ({
  ...internvit6b,
  width: c.visionWidth,
  image: Math.sqrt(c.visionTokens - 1) * internvit6b.patch,
});

/** InternViT's features of an image: [batch, token, embed] */
const visionInput = (c: QllamaModelConfig): VisionTokens =>
  input("vision", "f32", [axis("batch", "batch"), axis("token", c.visionTokens), axis("embed", c.visionWidth)]);

export const qllamaModel = defineModel<QllamaModelConfig>({
  name: "qllama-8b",
  summary: "QLLaMA: multilingual LLaMA-7B with 96 queries that attend to an image, for captioning",
  config: qllamaConfig,
  configs: { tiny: tiny.qllama },
  rules: qllamaAloneSettings,
  checkpoints: familyCheckpoints("qllama-8b", generativeRules),
  paper: paper((c) => qllamaMacs(c, encoderOf(c), c.context, c.context)),
  build: (p, c) => {
    const a = textAxes(c);
    const { queries, text } = qllama(p, visionInput(c), idsInput(c), c, "generative");
    const logits = languageHead(p.scope("qllama"), text, a, c);
    return {
      queries: transpose(queries, [a.batch, a.token, a.embed]),
      logits: transpose(logits, [a.batch, a.token, a.vocab]),
    };
  },
  graphs: {
    prefill: {
      summary: "prefill of the queries and a prompt: next-token logits, keys and values",
      build: (p, c) => qllamaPrefill(p, visionInput(c), c),
    },
    decode: { summary: stepSummary, build: qllamaStep },
  },
});
