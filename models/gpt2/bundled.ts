/** The published sizes of GPT-2 as named models. */
import {
  decoderInputs,
  defineModel,
  input,
  languageModelling,
  lastOf,
  type Model,
  newTokens,
  type Params,
  positive,
  presentOutputs,
  type SettingRules,
  whole,
} from "../../dsl/index.ts";
import { type Gpt2Config, gpt2, gpt2Axes, gpt2Scores, wholeText } from "./gpt2.ts";
import { gpt2Codec } from "./published-config.ts";
import { gpt2HeadRules, gpt2Rules } from "./weights.ts";

const sizes = whole(1, 2 ** 20);

const rules: SettingRules = {
  width: sizes,
  depth: whole(1, 1000),
  heads: sizes,
  mlp: sizes,
  vocab: sizes,
  positions: sizes,
  epsilon: positive,
};

/** Prefill, with logits of the last token, or a step on cached tokens, with logits of each new one. */
function writing(p: Params, c: Gpt2Config, graph: "beginning" | "step") {
  const a = gpt2Axes(c, newTokens());
  const { ids, context, past } = decoderInputs(a, c.depth, graph);
  const { last, memory } = gpt2(p, ids, a, c, context, past);
  const scored = graph === "step" ? last : lastOf<"batch" | "embed">(last);
  return { logits: gpt2Scores(p, scored, a), ...presentOutputs(memory, a) };
}

const onTexts = languageModelling<Gpt2Config>({
  scores: (p, ids, { token }, c) => {
    const a = gpt2Axes(c, token);
    return gpt2Scores(p, gpt2(p, ids, a, c, wholeText(a)).last, a);
  },
  vocab: (c) => c.vocab,
  length: (c) => c.positions,
});

const size = (name: string, width: number, depth: number, heads: number) =>
  defineModel<Gpt2Config>({
    name,
    summary: `GPT-2 of ${depth} blocks of width ${width}: next-token logits`,
    config: { width, depth, heads, mlp: 4 * width, vocab: 50257, positions: 1024, epsilon: 1e-5 },
    configs: { tiny: { width: 16, depth: 2, heads: 2, mlp: 32, vocab: 264, positions: 64 } },
    rules,
    checkpoints: { layouts: [gpt2HeadRules, gpt2Rules], config: gpt2Codec },
    paper: { source: "Radford et al. 2019, Language Models are Unsupervised Multitask Learners" },
    stages: { "language-modelling": onTexts },
    modes: { generate: { step: "decode", limit: (c) => c.positions } },
    build: (p, c) => {
      const a = gpt2Axes(c);
      const ids = input("ids", "i32", [a.batch, a.token]);
      return { logits: gpt2Scores(p, gpt2(p, ids, a, c, wholeText(a)).last, a) };
    },
    graphs: {
      prefill: {
        summary: "prefill of a prompt: next-token logits, keys and values",
        build: (p, c) => writing(p, c, "beginning"),
      },
      decode: {
        summary: "a decoding step with the KV cache: logits of the next tokens, updated keys and values",
        build: (p, c) => writing(p, c, "step"),
      },
    },
  });

/** 124,439,808, 354,823,168, 774,030,080 and 1,557,611,200 parameters. */
export const gpt2Models = [
  size("gpt2", 768, 12, 12),
  size("gpt2-medium", 1024, 24, 16),
  size("gpt2-large", 1280, 36, 20),
  size("gpt2-xl", 1600, 48, 25),
] as const;

/** All models of the family. */
export const gpt2Family: readonly Model[] = gpt2Models.map((model) => model as unknown as Model);
