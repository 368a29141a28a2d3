/** Captioning: the decoder continues a prompt about an image, which precedes it or which it attends to. */
import type { Graph, HostTensor } from "../../compiler/index.ts";
import type { Tokenizer } from "../../data/index.ts";
import type { CaptionMode, InterleavedPictures } from "../../dsl/index.ts";
import type { CachedSession } from "../generation/cached-session.ts";
import { type Generated, type GenerateOptions, generate } from "../generation/generate.ts";
import { begunText } from "./begun-text.ts";
import { textIds } from "./chat-templates.ts";

export interface Caption extends Generated {
  readonly text: string;
}

/** How images are placed in the text, for models that read several. */
export interface ShownPictures extends InterleavedPictures {
  /** Few-shot examples: the captions of all images but the last, in order; default none. */
  readonly examples?: readonly string[];
}

/** The prompt of a decoder that attends to an image: after its start token, unless it begins with it or is alone. */
export function decoderPrompt(
  tokenizer: Tokenizer,
  prompt: string,
  start: () => number,
  { promptStarts = false }: Pick<CaptionMode, "promptStarts"> = {},
): readonly number[] {
  const ids = textIds(tokenizer, prompt);
  if (promptStarts && ids.length > 0) return ids;
  const first = start();
  return ids[0] === first ? ids : [first, ...ids];
}

/**
 * BOS and the prompt, without EOS. With several images, each is placed before its prompt, followed by its example
 * caption.
 */
export function captionPrompt(tokenizer: Tokenizer, prompt: string, shown?: ShownPictures): number[] {
  const start = tokenizer.bos;
  if (!shown) return [start, ...textIds(tokenizer, prompt)];
  const { id, end, examples = [] } = shown;
  const before = examples.flatMap((said) => [id, ...textIds(tokenizer, `${prompt}${said}`), end]);
  return [start, ...before, id, ...textIds(tokenizer, prompt)];
}

/** How a caption is generated: after which ids, `captionPrompt`, and where it ends. */
export interface CaptionOptions extends GenerateOptions {
  readonly ids: readonly number[];
}

/**
 * The caption of one image. pixels f32 [batch = 1, channel, row, column], preceded by the examples' images; `beginning`
 * takes them: a prefill, with `input_ids`, or an encoder. The session has one row, or one per beam.
 */
export async function writeCaption(
  session: CachedSession,
  beginning: Graph,
  pixels: HostTensor,
  tokenizer: Tokenizer,
  { ids, ...how }: CaptionOptions,
): Promise<Caption> {
  const prompt = await begunText(session, beginning, { pixels }, ids);
  const [made] = await generate(session, prompt, how);
  const text = tokenizer.decode(made!.tokens.filter((id) => !how.eos.includes(id))).trim();
  return { ...made!, text };
}
