/** The inputs of each stage, made from pictures and their names. */
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import { type ContrastiveBatch, seededRandom, type Tokenizer, tokenBatch } from "../../data/index.ts";
import { imageToken, visualTokenCount } from "../../models/index.ts";
import { type ChatTemplate, captionPrompt, firstTurn, type ImagePlace, textIds } from "../../runtime/index.ts";
import { chat, generative } from "./models.ts";
import { drawQuestion, type Question } from "./questions.ts";
import type { EmojiData } from "./training-data.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** Stage 1: names to compare with. */
export const contrastiveFeeds = ({ images: pixels, ids }: ContrastiveBatch): Feeds => ({ pixels, ids });

/** What stands before a caption. */
export const captionLanguage = (language: string): string => `${language}:`;

/**
 * Stage 2: names to compare with; names that fit or do not, half of the rows with another row's, as in the released code;
 * names to write after their language. No two rows of a batch show the same emoji.
 */
export function generativeFeeds({ images: pixels, ids, pairs }: ContrastiveBatch, { tokenizer }: EmojiData): Feeds {
  const { context } = generative.text;
  const matches = pairs.map((_, i) => (i < pairs.length / 2 ? 0 : 1));
  const matching = pairs.map((pair, i) => (matches[i] ? pair : pairs[(i + 1) % pairs.length]!).text);
  const captions = pairs.map(({ language, text }) => `${captionLanguage(language)} ${text}`);
  const prompts = pairs.map(({ language }) => captionPrompt(tokenizer, captionLanguage(language)).length);
  return {
    pixels,
    ids,
    matching_ids: tokenBatch(tokenizer, matching, context).ids,
    matches: perRow(matches),
    caption_ids: tokenBatch(tokenizer, captions, context).ids,
    caption_prompt: perRow(prompts),
  };
}

const perRow = (values: readonly number[]): HostTensor =>
  hostTensor("i32", [{ name: "batch", size: values.length }], Int32Array.from(values));

/** A bare conversation: the picture, the question on a line of its own, the answer. */
const template: ChatTemplate = {
  name: "plain",
  system: "",
  before: "",
  after: "",
  end: [{ special: "eos" }],
  begin: [],
  stops: [],
  limit: chat.text.context,
};

const imagePlace: ImagePlace = { id: imageToken, tokens: visualTokenCount(chat) };

/** The ids of a question about a picture, up to where the answer begins. */
export const questionIds = (tokenizer: Tokenizer, text: string): number[] =>
  firstTurn(template, tokenizer, text, imagePlace);

/** Key of the random stream that questions are drawn from, beside those of the data's order. */
const questionStream = 100;

/** Stage 3: a conversation about each picture, as many questions as there is room for; the answers alone are targets. */
export function chatFeeds({ images: pixels, pairs, at }: ContrastiveBatch, data: EmojiData): Feeds {
  const known = new Map(data.set.emoji.map((e) => [e.id, e]));
  const random = seededRandom(at.seed, questionStream, at.epoch, at.position);
  const rows = pairs.map(({ group }) => conversationOf(() => drawQuestion(data.set, known.get(group)!, random), data));
  const { context } = chat.text;
  const axes = [
    { name: "batch", size: rows.length },
    { name: "token", size: context },
  ];
  const table = (fill: number, of: (row: Turn) => readonly number[]) =>
    hostTensor("i32", axes, Int32Array.from(rows.flatMap((row) => padded(of(row), context, fill))));
  return { pixels, ids: table(0, (r) => r.ids), labels: table(noTarget, (r) => r.labels) };
}

const noTarget = -100;

interface Turn {
  readonly ids: readonly number[];
  readonly labels: readonly number[];
}

/** Questions and answers until the next ones would be too long. */
function conversationOf(next: () => Question, { tokenizer }: EmojiData): Turn {
  const first = next();
  let said = answered(questionIds(tokenizer, first.text), first, tokenizer);
  for (;;) {
    const question = next();
    // The EOS of the answer before is there already.
    const turn = answered(textIds(tokenizer, `\n${question.text}`), question, tokenizer);
    if (said.ids.length + turn.ids.length > chat.text.context) return said;
    said = { ids: [...said.ids, ...turn.ids], labels: [...said.labels, ...turn.labels] };
  }
}

function answered(asked: readonly number[], { answer }: Question, tokenizer: Tokenizer): Turn {
  const said = [...textIds(tokenizer, ` ${answer}`), tokenizer.eos];
  return { ids: [...asked, ...said], labels: [...asked.map(() => noTarget), ...said] };
}

const padded = (ids: readonly number[], length: number, fill: number): readonly number[] =>
  Array.from({ length }, (_, i) => ids[i] ?? fill);
