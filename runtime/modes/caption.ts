/** Captioning: the decoder continues a text that begins with an image and a prompt. */
import type { Graph, HostTensor } from "../../compiler/index.ts";
import type { Tokenizer } from "../../data/index.ts";
import type { InterleavedPictures } from "../../dsl/index.ts";
import type { CachedSession } from "../generation/cached-session.ts";
import { type Generated, type GenerateOptions, generate } from "../generation/generate.ts";
import { textIds } from "./chat-templates.ts";
import { idRow } from "./token-ids.ts";

export interface Caption extends Generated {
  readonly text: string;
}

/** How images are placed in the text, for models that read several. */
export interface ShownPictures extends InterleavedPictures {
  /** Few-shot examples: the captions of all images but the last, in order; default none. */
  readonly examples?: readonly string[];
}

/**
 * BOS and the prompt, without EOS. With several images, each is placed before its prompt, followed by its example
 * caption.
 */
export function captionPrompt(tokenizer: Tokenizer, prompt: string, shown?: ShownPictures): number[] {
  if (!shown) return [tokenizer.bos, ...textIds(tokenizer, prompt)];
  const { id, end, examples = [] } = shown;
  const before = examples.flatMap((said) => [id, ...textIds(tokenizer, `${prompt}${said}`), end]);
  return [tokenizer.bos, ...before, id, ...textIds(tokenizer, prompt)];
}

/**
 * The caption of one image. pixels f32 [batch = 1, channel, row, column], preceded by the examples' images; `beginning`
 * takes them and `input_ids`, see `CachedSession.begin`. The session has one row, or one per beam.
 */
export async function writeCaption(
  session: CachedSession,
  beginning: Graph,
  pixels: HostTensor,
  tokenizer: Tokenizer,
  options: Omit<GenerateOptions, "eos"> & {
    readonly prompt: string;
    readonly shown?: ShownPictures | undefined;
    /** Ids that end the caption, besides the tokenizer's EOS. */
    readonly stops?: readonly number[];
  },
): Promise<Caption> {
  const { prompt, shown, stops = [], ...how } = options;
  const eos = [tokenizer.eos, ...stops];
  const input_ids = idRow(captionPrompt(tokenizer, prompt, shown));
  const scores = await session.begin(beginning, { pixels, input_ids });
  const [made] = await generate(session, { scores }, { ...how, eos });
  const text = tokenizer.decode(made!.tokens.filter((id) => !eos.includes(id))).trim();
  return { ...made!, text };
}
