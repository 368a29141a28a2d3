/** The inputs of each stage, made from pictures and their names. */
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import { type ContrastiveBatch, type Pair, type Tokenizer, tokenBatch } from "../../data/index.ts";
import { imageToken, patchCount } from "../../models/index.ts";
import { type ChatTemplate, firstTurn, type ImagePlace, textIds } from "../../runtime/index.ts";
import { chat, generative } from "./models.ts";

type Feeds = Readonly<Record<string, HostTensor>>;

/** Stage 1: names to compare with. */
export const contrastiveFeeds = ({ images: pixels, ids }: ContrastiveBatch): Feeds => ({ pixels, ids });

/**
 * Stage 2: names to compare with; names that fit or do not, half of the rows with another row's, as in the released code;
 * names to write after their language. No two rows of a batch show the same emoji.
 */
export function generativeFeeds({ images: pixels, ids, pairs }: ContrastiveBatch, tokenizer: Tokenizer): Feeds {
  const { context } = generative.text;
  const matches = pairs.map((_, i) => (i < pairs.length / 2 ? 0 : 1));
  const matching = pairs.map((pair, i) => (matches[i] ? pair : pairs[(i + 1) % pairs.length]!).text);
  const captions = pairs.map(({ language, text }) => `${language}: ${text}`);
  const prompts = pairs.map(({ language }) => 1 + textIds(tokenizer, `${language}:`).length);
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

/** What is asked in each language. */
export const questions: Readonly<Record<string, string>> = {
  en: "What is this?",
  zh: "这是什么？",
  ar: "ما هذا؟",
  es: "¿Qué es esto?",
};

/** A bare conversation: the picture, the question on a line of its own, the answer. */
export const template: ChatTemplate = {
  name: "plain",
  system: "",
  before: "",
  after: "",
  end: [{ special: "eos" }],
  begin: [],
  stops: [],
  limit: chat.text.context,
};

export const imagePlace: ImagePlace = { id: imageToken, tokens: chat.qllama.queries + patchCount(chat.vision) };

/** Stage 3: a question about each picture; the answer alone is a target. */
export function chatFeeds({ images: pixels, pairs }: ContrastiveBatch, tokenizer: Tokenizer): Feeds {
  const rows = pairs.map((pair) => turnOf(pair, tokenizer));
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

function turnOf({ language, text }: Pair, tokenizer: Tokenizer): Turn {
  const question = firstTurn(template, tokenizer, questions[language]!, imagePlace);
  const answer = [...textIds(tokenizer, ` ${text}`), tokenizer.eos];
  return { ids: [...question, ...answer], labels: [...question.map(() => noTarget), ...answer] };
}

const padded = (ids: readonly number[], length: number, fill: number): readonly number[] =>
  Array.from({ length }, (_, i) => ids[i] ?? fill);
