/** Converts the turns of a conversation to the token format that a language model was trained on. */
import type {
  ChatTemplate,
  ConversationTurn,
  ImagePlace,
  Piece,
  TextCodec,
  WrittenConversation,
} from "../../dsl/index.ts";

export type { ChatTemplate, ImagePlace } from "../../dsl/index.ts";

/** The part of a tokenizer that a template needs. */
type Codec = Pick<TextCodec, "bos" | "eos" | "encode">;

/**
 * The ids of the first turn, up to where the answer begins. An image stands before the question, on a line of its own;
 * the texts before and after it are tokenized separately, as in LLaVA.
 */
export function firstTurn(template: ChatTemplate, tokenizer: Codec, question: string, image?: ImagePlace): number[] {
  const { head, text } = beginning(template, tokenizer, question, image);
  return [...head, ...textIds(tokenizer, text)];
}

/** The ids before the text of a first turn, and that text. */
function beginning(template: ChatTemplate, tokenizer: Codec, question: string, image?: ImagePlace) {
  const { system, before, after, bos = true, aroundImage: [opened, closed] = ["", ""] } = template;
  const first = bos ? [tokenizer.bos] : [];
  if (!image) return { head: first, text: `${system}${before}${question}${after}` };
  const place = Array.from({ length: image.tokens }, () => image.id);
  const head = [...first, ...textIds(tokenizer, system + before + opened), ...place];
  return { head, text: `${closed}\n${question}${after}` };
}

/** The ids between an answer and the next one: the previous turn's end, then the question. */
export function nextTurn(template: ChatTemplate, tokenizer: Codec, question: string): number[] {
  const { end, begin, before, after } = template;
  return idsOf(tokenizer, [...end, ...begin, `${before}${question}${after}`]);
}

/** The label of positions that the loss ignores. */
const noTarget = -100;

/**
 * A whole conversation as a training example: questions formatted as by `firstTurn` and `nextTurn`, with the answers
 * and their ends as targets. Each answer is tokenized together with its question; a token that spans both counts as the
 * question's. A system turn replaces the template's own system text. Undefined when no question has an answer.
 */
export function writtenConversation(
  template: ChatTemplate,
  tokenizer: Codec,
  turns: readonly ConversationTurn[],
  image?: ImagePlace,
): WrittenConversation | undefined {
  const system = turns.find((t) => t.role === "system")?.text;
  const [opened, closed] = template.systemAround ?? ["", " "];
  const own = system === undefined ? template : { ...template, system: `${opened}${system}${closed}` };
  const exchanges = exchangesOf(turns);
  if (exchanges.length === 0) return undefined;
  const [ids, labels]: [number[], number[]] = [[], []];
  const add = (more: readonly number[], isTarget: boolean) => {
    ids.push(...more);
    labels.push(...(isTarget ? more : more.map(() => noTarget)));
  };
  for (const [i, { question, answer }] of exchanges.entries()) {
    const { head, text } =
      i === 0
        ? beginning(own, tokenizer, question, image)
        : { head: idsOf(tokenizer, own.begin), text: `${own.before}${question}${own.after}` };
    const asked = own.answersOnly ? "" : text;
    const whole = textIds(tokenizer, `${asked}${own.gap ?? ""}${answer}`);
    const shared = commonStart(textIds(tokenizer, asked), whole);
    add(head, false);
    add(whole.slice(0, shared), false);
    add([...whole.slice(shared), ...idsOf(tokenizer, own.end)], true);
  }
  return { ids, labels };
}

/** What `writtenConversation` leaves out or joins, for a report. */
export function alteredTurns(turns: readonly ConversationTurn[]): readonly string[] {
  const said = turns.filter((t) => t.role !== "system");
  const pairs = said.slice(1).map((turn, i) => [said[i]!, turn] as const);
  const altered = {
    "answers before the first question are left out": said[0]?.role === "assistant",
    "questions at the end of a conversation, without an answer, are left out": said.at(-1)?.role === "user",
    "consecutive turns of one speaker are joined": pairs.some(([one, next]) => one.role === next.role),
    "answers without text teach no more than to end": said.some((t) => t.role === "assistant" && t.text.trim() === ""),
    "all system turns but the first of a conversation are left out":
      turns.filter((t) => t.role === "system").length > 1,
  };
  return Object.entries(altered).flatMap(([what, isSo]) => (isSo ? [what] : []));
}

/** Pairs of question and answer. Consecutive turns of one speaker are joined, and image placeholders are removed. */
function exchangesOf(turns: readonly ConversationTurn[]): { readonly question: string; readonly answer: string }[] {
  const said = turns.filter((t) => t.role !== "system");
  const joined: { role: string; text: string }[] = [];
  for (const { role, text } of said) {
    const words = role === "user" ? text.replaceAll("<image>", "").trim() : text.trim();
    const last = joined.at(-1);
    if (last?.role === role) last.text = `${last.text}\n${words}`;
    else joined.push({ role, text: words });
  }
  const first = joined.findIndex((t) => t.role === "user");
  return joined.slice(Math.max(0, first)).flatMap((turn, i, all) => {
    const answer = all[i + 1];
    return turn.role === "user" && answer ? [{ question: turn.text, answer: answer.text }] : [];
  });
}

function commonStart(a: readonly number[], b: readonly number[]): number {
  const differs = a.findIndex((id, i) => id !== b[i]);
  return differs < 0 ? a.length : differs;
}

/** The concatenated ids of texts and special tokens. */
export function idsOf(tokenizer: Codec, pieces: readonly Piece[]): number[] {
  return pieces.flatMap((piece) =>
    typeof piece === "string" ? textIds(tokenizer, piece) : [tokenizer[piece.special]],
  );
}

/** The ids of a text without the BOS and EOS that the tokenizer adds. */
export const textIds = (tokenizer: Pick<TextCodec, "encode">, text: string): number[] =>
  tokenizer.encode(text, Number.MAX_SAFE_INTEGER).slice(1, -1);
