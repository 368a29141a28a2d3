/** Captions compared with human references: by the mode caption, else chat. */
import { UsageError } from "../../../compiler/index.ts";
import { captionScores, imageName, type Question, type RawSample } from "../../../data/index.ts";
import { cachedSession, tokensBegun, writeCaption } from "../../../runtime/index.ts";
import { mapWithProgress } from "../../map-with-progress.ts";
import { beginningOf, captionIds, defaultsOf, endsOf, shownIn } from "../run/caption.ts";
import { decodingOf, limitOf, requireRoom } from "../run/decoding.ts";
import { graphOf, modeOf, type NamedModel, withWeights } from "../run/opened-model.ts";
import { pixelsFrom, preprocessingFor } from "../run/pictures.ts";
import { openTokenizer } from "../run/tokenizing.ts";
import { rowsOf } from "../run/writing.ts";
import { type Asked, answerCards, askAll } from "./asking.ts";
import type { EvaluateOptions, Outcome, Protocol } from "./options.ts";
import { readSamples } from "./samples.ts";

export const captions: Protocol = {
  summary: "captions against references: BLEU-1 to 4, CIDEr-D, METEOR with exact matches only",
  takes: ["images", "language", "prompt", "template", "maxTokens"],
  run: evaluateCaptions,
};

/** The prompt for a chat model. Liu et al. 2023, arXiv:2310.03744. */
const chatPrompt = "Provide a one-sentence caption for the provided image.";

async function evaluateCaptions(named: NamedModel, options: EvaluateOptions): Promise<Outcome> {
  const mode = named.model?.modes?.caption;
  if (!mode) modeOf(named, named.model?.modes?.chat ? "chat" : "caption"); // fails before samples are read
  const { samples, skipped } = await readSamples("pairs", options);
  const questions = referencesOf(samples, options.language);
  const prompt = options.prompt ?? (mode ? (mode.prompt ?? "") : chatPrompt);
  const written = mode
    ? { answers: await writeAll(named, questions, prompt, options), skipped: [] }
    : await askAll(
        named,
        questions.map((question) => ({ ...question, text: prompt })),
        "",
        options,
      );
  const { answers } = written;
  return {
    samples: answers.length,
    results: {
      all: captionScores(answers.map(({ question, said }) => ({ candidate: said, references: question.answers }))),
    },
    asked: { prompt },
    skipped: [...skipped, ...written.skipped],
    answers: answers.map(({ question, said }) => ({ name: question.name, said, references: question.answers })),
    ...(options.out !== undefined && { sections: await answerCards(answers) }),
  };
}

/** Each image once with all its captions. Throws UsageError if they are in several languages and none is selected. */
function referencesOf(samples: readonly RawSample[], language: string | undefined): readonly Question[] {
  const spoken = [...new Set(samples.flatMap(({ texts }) => Object.keys(texts!)))];
  const one = language ?? spoken[0]!;
  if ((language === undefined && spoken.length > 1) || !spoken.includes(one))
    throw new UsageError(`the captions are in ${spoken.join(", ")}: choose one language with --language`);
  const pictures = Map.groupBy(
    samples.filter(({ texts }) => texts![one] !== undefined),
    ({ image }) => imageName(image!),
  );
  return [...pictures].map(([name, own]) => ({
    name,
    image: own[0]!.image!,
    text: name,
    answers: own.flatMap(({ texts }) => texts![one]!),
  }));
}

/** The captions that `heddle run caption` generates. */
async function writeAll(
  named: NamedModel,
  questions: readonly Question[],
  prompt: string,
  options: EvaluateOptions,
): Promise<readonly Asked[]> {
  const mode = modeOf(named, "caption");
  const [beginning, step] = [beginningOf(named, mode), graphOf(named, mode.step)];
  const tokenizer = await openTokenizer(step, options);
  const decoding = await decodingOf(mode, named, tokenizer, options);
  const ids = captionIds(mode, tokenizer, decoding, prompt, shownIn(mode, named.config!));
  const begun = tokensBegun(beginning, step, ids.length);
  const { maxTokens } = options;
  const limit = limitOf(mode, named);
  const writing = decoding.writing(maxTokens === undefined ? {} : { maxTokens }, defaultsOf(mode), { begun, limit });
  const { maxNewTokens } = writing;
  const how = { ...writing, ids, eos: endsOf(mode, named, decoding) };
  requireRoom(begun, maxNewTokens, limit, "the image, the prompt");
  const preprocessing = await preprocessingFor(named, beginning, "caption", options);
  return await withWeights(named, [beginning, step], options, async (model) => {
    const session = cachedSession(model, step, { rows: rowsOf(writing.strategy), capacity: begun + maxNewTokens });
    return await mapWithProgress(questions, { description: "captions", unit: "images" }, async (question) => {
      const pixels = await pixelsFrom(question.image!, preprocessing);
      const { text } = await writeCaption(session, beginning, pixels, tokenizer, how);
      return { question, said: text };
    });
  });
}
