/** Captions: an image and a prompt begin a text, and the decoder writes on. */
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

/** How pictures stand in a text, where the model reads several. */
export interface ShownPictures extends InterleavedPictures {
  /** What is said of the pictures before the last one, in their order; default there are none. */
  readonly examples?: readonly string[];
}

/** BOS and the prompt, without EOS. Where pictures stand in the text, each before the prompt, and each example after it. */
export function captionPrompt(tokenizer: Tokenizer, prompt: string, shown?: ShownPictures): number[] {
  if (!shown) return [tokenizer.bos, ...textIds(tokenizer, prompt)];
  const { id, end, examples = [] } = shown;
  const before = examples.flatMap((said) => [id, ...textIds(tokenizer, `${prompt}${said}`), end]);
  return [tokenizer.bos, ...before, id, ...textIds(tokenizer, prompt)];
}

/**
 * The caption of one image. pixels f32 [batch = 1, channel, row, column], the images of examples before it; `beginning` takes them and `input_ids`, see
 * `CachedSession.begin`. The session has a row, or one for each beam.
 */
export async function writeCaption(
  session: CachedSession,
  beginning: Graph,
  pixels: HostTensor,
  tokenizer: Tokenizer,
  options: Omit<GenerateOptions, "eos"> & {
    readonly prompt: string;
    readonly shown?: ShownPictures | undefined;
    /** Ids that end it, besides the tokenizer's EOS. */
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
