/** Asks a chat model questions, each in a conversation of its own, decoded greedily. */
import { basename } from "node:path";
import { FileError } from "../../../compiler/index.ts";
import { imageDataUri, imageName, orFileError, type Question, skipCounts } from "../../../data/index.ts";
import { type Card, cachedSession, conversation, type Section } from "../../../runtime/index.ts";
import { mapWithProgress } from "../../map-with-progress.ts";
import { counted, type Reason } from "../data.ts";
import { placeOf, questionRoom, shownIn, templateOf } from "../run/chat.ts";
import { decodingOf } from "../run/decoding.ts";
import { graphOf, modeOf, type NamedModel, withWeights } from "../run/opened-model.ts";
import { pixelsFrom, preprocessingFor } from "../run/pictures.ts";
import { openTokenizer } from "../run/tokenizing.ts";
import type { EvaluateOptions } from "./options.ts";

export interface Asked {
  readonly question: Question;
  readonly said: string;
}

export interface Answers {
  readonly answers: readonly Asked[];
  readonly skipped: readonly Reason[];
}

/** Default tokens of an answer: a word or a phrase. */
const usualTokens = 32;

/** The model's answers; a question with a broken image is skipped. Throws FileError if all are. */
export async function askAll(
  named: NamedModel,
  questions: readonly Question[],
  suffix: string,
  options: EvaluateOptions,
): Promise<Answers> {
  const mode = modeOf(named, "chat");
  const template = templateOf(options.template, mode, named);
  const step = graphOf(named, mode.step);
  const tokenizer = await openTokenizer(step, options);
  const decoding = await decodingOf(mode, named, tokenizer, options);
  const seeing = questions.some(({ image }) => image !== undefined) ? placeOf(mode, named) : undefined;
  const preprocessing = seeing && (await preprocessingFor(named, seeing.beginning, "chat", options));
  const maxNewTokens = options.maxTokens ?? usualTokens;
  const writing = decoding.writing({ maxTokens: maxNewTokens }, { strategy: { kind: "greedy" }, maxNewTokens });
  const skips = skipCounts();
  const asked = await withWeights(named, seeing?.beginning ?? step, options, (model) => {
    const capacity = Math.min(template.limit, (seeing?.place.tokens ?? 0) + questionRoom + maxNewTokens);
    const session = cachedSession(model, step, { rows: 1, capacity, limit: template.limit });
    return mapWithProgress(questions, { description: "asking", unit: "questions" }, async (question) => {
      const { name, image, text } = question;
      const pixels = image === undefined ? undefined : await pixelsFrom(image, preprocessing!).catch(orFileError);
      if (pixels instanceof FileError) {
        skips.add({ name, reason: pixels.message });
        return undefined;
      }
      session.clear();
      const shown = pixels && { image: shownIn(seeing!, pixels) };
      const talk = conversation(session, { template, tokenizer, eos: decoding.eos, ...shown });
      const answer = await talk.ask(suffixed(text, suffix), writing);
      return { question, said: answer.text };
    });
  });
  const answers = asked.filter((one) => one !== undefined);
  const skipped = counted(skips.counts());
  if (answers.length > 0) return { answers, skipped };
  throw new FileError(`no question could be asked: ${skipped[0]?.reason ?? "the data has none"}`);
}

const suffixed = (question: string, suffix: string): string =>
  suffix === "" || question.endsWith(suffix) ? question : `${question}\n${suffix}`;

/** Maximum images of a page. */
export const mostCards = 24;

/** The first questions with their answers, for the page, marked if correctness is known. */
export async function answerCards(
  answers: readonly Asked[],
  isRight?: (asked: Asked) => boolean,
): Promise<readonly Section[]> {
  const cards = answers.slice(0, mostCards).map(async (asked): Promise<Card> => {
    const { question, said } = asked;
    const { image } = question;
    return {
      title: question.text,
      ...(image !== undefined && {
        pictures: [{ image: await imageDataUri(image, 128), description: basename(imageName(image)) }],
      }),
      remarks: [
        { label: "says", text: said, ...(isRight && { mark: isRight(asked) ? "right" : "wrong" }) },
        { label: "right", text: [...new Set(question.answers)].join(", "), mark: "expected" },
      ],
    };
  });
  return [
    { kind: "heading", text: `The first ${cards.length} of ${answers.length}` },
    { kind: "cards", cards: await Promise.all(cards) },
  ];
}
