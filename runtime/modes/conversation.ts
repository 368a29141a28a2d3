/** A conversation with a decoder: every turn continues from the KV cache. */
import type { Graph, HostTensor } from "../../compiler/index.ts";
import type { Tokenizer } from "../../data/index.ts";
import type { CachedSession } from "../generation/cached-session.ts";
import { type Generated, type GenerateOptions, generate } from "../generation/generate.ts";
import { type ChatTemplate, firstTurn, type ImagePlace, nextTurn } from "./chat-templates.ts";
import { idRow } from "./token-ids.ts";

/** The image that a conversation is about. */
export interface ChatImage {
  /** Prefill graph for a text with an image: inputs `pixels` and `input_ids`; see `CachedSession.begin`. */
  readonly beginning: Graph;
  /** f32 [batch = 1, channel, row, column] */
  readonly pixels: HostTensor;
  readonly place: ImagePlace;
}

export interface ConversationOptions {
  readonly template: ChatTemplate;
  readonly tokenizer: Tokenizer;
  /** Ids that end an answer, beside those of the template; default the tokenizer's EOS. */
  readonly eos?: readonly number[];
  readonly image?: ChatImage;
}

/** How an answer is generated; the template decides where it ends. */
export type AnswerOptions = Omit<GenerateOptions, "eos" | "onToken"> & {
  /** Called with new text as it is generated: whole characters only. */
  readonly onText?: (text: string) => void;
};

export interface Answer extends Generated {
  readonly text: string;
}

export interface Conversation {
  ask(question: string, options: AnswerOptions): Promise<Answer>;
}

/** A conversation, on a session with one row. */
export function conversation(session: CachedSession, options: ConversationOptions): Conversation {
  const { template, tokenizer, image } = options;
  const stops = [...(options.eos ?? [tokenizer.eos]), ...template.stops];
  /** Tokens of the last answer that are not in the cache yet. */
  let unread: readonly number[] = [];
  /** The whole text. */
  let held: readonly number[] = [];
  let turns = 0;
  const begin = async (ids: readonly number[]) => {
    if (!image) return await session.step([ids]);
    return await session.begin(image.beginning, { pixels: image.pixels, input_ids: idRow(ids) });
  };
  const ask = async (question: string, { onText, ...how }: AnswerOptions): Promise<Answer> => {
    const isFirst = turns++ === 0;
    const ids = isFirst
      ? firstTurn(template, tokenizer, question, image?.place)
      : nextTurn(template, tokenizer, question);
    const scores = isFirst ? await begin(ids) : await session.step([[...unread, ...ids]]);
    held = [...held, ...ids];
    const stream = textStream(tokenizer, stops, onText ? { onText } : {});
    // An answer ends where the context does.
    const room = Math.max(1, how.minNewTokens ?? 0, session.limit - session.length);
    const maxNewTokens = Math.min(how.maxNewTokens, room);
    const [made] = await generate(
      session,
      { scores, held: [held] },
      { ...how, maxNewTokens, eos: stops, onToken: (_, token) => stream.add(token) },
    );
    const hasEnd = made!.ended === "eos"; // which the next turn writes, where the template has one
    held = [...held, ...(hasEnd ? made!.tokens.slice(0, -1) : made!.tokens)];
    unread = hasEnd ? [] : made!.tokens.slice(-1);
    return { ...made!, text: stream.end() };
  };
  return { ask };
}

export interface TextStreamOptions {
  /** Called with new text: whole characters only. */
  readonly onText?: (text: string) => void;
  /**
   * Ids of a text that the new one continues; spaces between the two are kept. Without it, leading spaces are dropped.
   */
  readonly after?: readonly number[];
}

/** Incremental detokenization. An incomplete character, shown as a trailing �, waits for the next id. */
export function textStream(
  tokenizer: Tokenizer,
  stops: readonly number[],
  { onText, after = [] }: TextStreamOptions = {},
) {
  const ids: number[] = [...after];
  const before = tokenizer.decode(after).length;
  let told = "";
  const tell = (text: string) => {
    if (text.length > told.length && text.startsWith(told)) {
      onText?.(text.slice(told.length));
      told = text;
    }
    return text;
  };
  const whole = () => (after.length > 0 ? tokenizer.decode(ids).slice(before) : tokenizer.decode(ids).trimStart());
  return {
    add(id: number): void {
      if (stops.includes(id)) return;
      ids.push(id);
      const text = whole();
      if (!text.endsWith("\ufffd")) tell(text);
    },
    /** The whole text. */
    end: (): string => tell(whole()),
  };
}
