/** The inputs of each stage, from images and their names. */
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import { type ContrastiveBatch, seededRandom, type Tokenizer, tokenBatch } from "../../data/index.ts";
import { imageToken, visualTokenCount } from "../../models/index.ts";
import { type ChatTemplate, captionPrompt, firstTurn, type ImagePlace, textIds } from "../../runtime/index.ts";
import { chat, generative } from "./models.ts";
import { drawQuestion, type Question } from "./questions.ts";
import type { EmojiData } from "./training-data.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** Stage 1: names for the contrastive loss. */
export const contrastiveFeeds = ({ images: pixels, ids }: ContrastiveBatch): Feeds => ({ pixels, ids });

/** The prompt of a caption. */
export const captionLanguage = (language: string): string => `${language}:`;

/**
 * Stage 2: names for the contrastive loss; matching and mismatched names, half of the rows with another row's, as in
 * the released code; names to generate after their language. No two rows of a batch show the same emoji.
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

/** A bare conversation: the image, the question on a line of its own, the answer. */
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

/** The ids of a question about an image, up to where the answer begins. */
export const questionIds = (tokenizer: Tokenizer, text: string): number[] =>
  firstTurn(template, tokenizer, text, imagePlace);

/** Key of the random stream of questions, distinct from those of the data order. */
const questionStream = 100;

/** Maximum answer tokens of an image's questions, and so of an answer. */
export const mostTargets = 24;

/**
 * Stage 3: as many questions about each image as fit, which do not see each other, since the answer to one would often
 * give away that to the next; only answers are targets.
 */
export function chatFeeds({ images: pixels, pairs, at }: ContrastiveBatch, data: EmojiData): Feeds {
  const known = new Map(data.set.emoji.map((e) => [e.id, e]));
  const random = seededRandom(at.seed, questionStream, at.epoch, at.position);
  const rows = pairs.map(({ group }) => turnsOf(() => drawQuestion(data.set, known.get(group)!, random), data));
  const table = (name: string, size: number, of: (row: Turns) => readonly number[]) =>
    hostTensor(
      "i32",
      [
        { name: "batch", size: rows.length },
        { name, size },
      ],
      Int32Array.from(rows.flatMap((row) => Array.from({ length: size }, (_, i) => of(row)[i] ?? 0))),
    );
  const { context } = chat.text;
  return {
    pixels,
    ids: table("token", context, (r) => r.ids),
    turn: table("token", context, (r) => r.turn),
    position: table("token", context, (r) => r.position),
    places: table("target", mostTargets, (r) => r.places),
  };
}

/** The tokens of questions and answers about an image, after those of the image. */
interface Turns {
  readonly ids: readonly number[];
  /** The number of each token's question from 1; 0 for the image's. */
  readonly turn: readonly number[];
  readonly position: readonly number[];
  /** Places of the answer tokens. */
  readonly places: readonly number[];
}

/** Adds questions and answers until the next would not fit. */
function turnsOf(next: () => Question, { tokenizer }: EmojiData): Turns {
  for (let said: Turns | undefined, number = 1; ; number += 1) {
    const question = next();
    const more = withTurn(said, number, questionIds(tokenizer, question.text), [
      ...textIds(tokenizer, ` ${question.answer}`),
      tokenizer.eos,
    ]);
    if (said && (more.ids.length > chat.text.context || more.places.length > mostTargets)) return said;
    said = more;
  }
}

/** `asked` is a whole prompt; what precedes the question is there once, before the first. */
function withTurn(said: Turns | undefined, number: number, asked: readonly number[], answer: readonly number[]): Turns {
  const before = asked.lastIndexOf(imageToken) + 1;
  const shared = asked.slice(0, before);
  const at = said ?? { ids: shared, turn: shared.map(() => 0), position: [...shared.keys()], places: [] };
  const own = [...asked.slice(before), ...answer];
  const start = at.ids.length;
  return {
    ids: [...at.ids, ...own],
    turn: [...at.turn, ...own.map(() => number)],
    position: [...at.position, ...own.map((_, i) => before + i)],
    places: [...at.places, ...answer.map((_, i) => start + own.length - answer.length + i)],
  };
}
