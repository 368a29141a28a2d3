/** Captions: an image and a prompt begin a text, and the decoder writes on. */
import type { Graph, HostTensor } from "../../compiler/index.ts";
import type { Tokenizer } from "../../data/index.ts";
import type { CachedSession } from "../generation/cached-session.ts";
import { type Generated, type GenerateOptions, generate } from "../generation/generate.ts";
import { textIds } from "./chat-templates.ts";
import { idRow } from "./token-ids.ts";

export interface Caption extends Generated {
  readonly text: string;
}

/** BOS and the prompt, without EOS. */
export const captionPrompt = (tokenizer: Tokenizer, prompt: string): number[] => [
  tokenizer.bos,
  ...textIds(tokenizer, prompt),
];

/**
 * The caption of one image. pixels f32 [batch = 1, channel, row, column]; `beginning` takes them and `input_ids`, see
 * `CachedSession.begin`. The session has a row, or one for each beam.
 */
export async function writeCaption(
  session: CachedSession,
  beginning: Graph,
  pixels: HostTensor,
  tokenizer: Tokenizer,
  options: Omit<GenerateOptions, "eos"> & {
    readonly prompt: string;
    /** Ids that end it, besides the tokenizer's EOS. */
    readonly stops?: readonly number[];
  },
): Promise<Caption> {
  const { prompt, stops = [], ...how } = options;
  const eos = [tokenizer.eos, ...stops];
  const scores = await session.begin(beginning, { pixels, input_ids: idRow(captionPrompt(tokenizer, prompt)) });
  const [made] = await generate(session, { scores }, { ...how, eos });
  const text = tokenizer.decode(made!.tokens.filter((id) => !eos.includes(id))).trim();
  return { ...made!, text };
}
