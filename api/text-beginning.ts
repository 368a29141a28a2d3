/** How a writer's texts begin: which graphs of the model, and which ids, a prompt or an image needs. */
import { type Graph, type HostTensor, UsageError } from "../compiler/index.ts";
import type { Tokenizer } from "../data/browser-index.ts";
import { type CaptionMode, type Config, type GenerateMode, type Model, trace } from "../dsl/index.ts";
import {
  captionPrompt,
  decoderPrompt,
  type GenerationConfig,
  idRow,
  promptIds,
  sourceIds,
  type TextPolicy,
  textPolicy,
  tokensBegun,
} from "../runtime/index.ts";

/** How a text begins. */
export interface TextBeginning extends Pick<TextPolicy, "eos" | "rules"> {
  /** What the decoder reads first: the prompt, or what starts the text of a decoder that attends to a source. */
  readonly ids: readonly number[];
  /** The number of tokens in the cache then. */
  readonly length: number;
  /** The prefill or the encoder, and what it is fed beside ids. */
  readonly graph?: Graph;
  readonly feeds: Readonly<Record<string, HostTensor>>;
  /** The prompt's ids, if the text continues them. */
  readonly after?: readonly number[];
}

/** The texts of a model. */
export interface ModelTexts {
  readonly step: Graph;
  /** All graphs that texts need, the step among them. */
  readonly graphs: readonly Graph[];
  /** Maximum tokens of a text. */
  readonly limit: number;
  /** Begins a text with a prompt, or with an image and a prompt. Throws UsageError for what the model does not take. */
  begin(prompt: string, picture: HostTensor | undefined): TextBeginning;
}

/** How a model's texts begin. Throws UsageError for a model that writes none. */
export function modelTexts<C extends Config>(
  model: Model<C>,
  config: C,
  tokenizer: Tokenizer,
  stored: GenerationConfig | undefined,
): ModelTexts {
  const { generate: plain, caption } = model.modes ?? {};
  const mode = plain ?? caption;
  if (!mode) throw new UsageError(`"${model.name}" cannot generate text: it has neither the mode generate nor caption`);
  const graphOf = (graph: string) => trace(model, config, { graph });
  const step = graphOf(mode.step);
  const ofImage = caption && graphOf((caption.begin ?? caption.encode)!);
  const encoder = plain?.encode === undefined ? undefined : graphOf(plain.encode);
  const policyOf = (of: GenerateMode<C> | CaptionMode<C>) =>
    textPolicy(tokenizer, of as GenerateMode, config, stored?.tokens);
  const aboutImage = (prompt: string, pixels: HostTensor): TextBeginning => {
    if (!caption || !ofImage) throw new UsageError(`"${model.name}" takes no images: it has no caption mode`);
    const { eos, rules, start } = policyOf(caption);
    const text = prompt || caption.prompt || "";
    const ids =
      caption.encode === undefined
        ? captionPrompt(tokenizer, text, caption.pictures?.(config))
        : decoderPrompt(tokenizer, text, start, caption);
    const length = tokensBegun(ofImage, step, ids.length);
    return { ids, length, graph: ofImage, feeds: { pixels }, eos: [...eos, ...(caption.stops?.(config) ?? [])], rules };
  };
  const ofPrompt = (prompt: string): TextBeginning => {
    if (!plain) throw new UsageError(`"${model.name}" captions images: pass one as \`picture\``);
    const { eos, rules, start } = policyOf(plain);
    if (encoder) {
      const source = sourceIds(tokenizer, prompt, encoder);
      return { ids: [start()], length: 1, graph: encoder, feeds: { input_ids: idRow(source) }, eos, rules };
    }
    const ids = promptIds(tokenizer, prompt, plain.begin);
    return { ids, length: ids.length, feeds: {}, after: ids, eos, rules };
  };
  return {
    step,
    graphs: [ofImage, encoder, step].filter((graph) => graph !== undefined),
    limit: typeof mode.limit === "number" ? mode.limit : mode.limit(config),
    begin: (prompt, picture) => (picture ? aboutImage(prompt, picture) : ofPrompt(prompt)),
  };
}
