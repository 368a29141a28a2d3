/** The tests of stages 2 and 3: captions of every image, and balanced yes/no questions. */
import {
  type ExactAnswers,
  exactAnswers,
  type ImageStore,
  type Pixels,
  seededRandom,
  type YesNoMeasures,
  yesNoMeasures,
} from "../../data/index.ts";
import { captionPrefill, captionStep, chatPrefill, decodeStep } from "../../models/index.ts";
import { captionPrompt, type TrainedRun } from "../../runtime/index.ts";
import type { ArtistId } from "./artists.ts";
import { captionLanguage, mostTargets, questionIds } from "./feeds.ts";
import { chat, generative } from "./models.ts";
import {
  drawVerdict,
  type Emoji,
  has,
  nameQuestion,
  type Question,
  type Thing,
  things,
  verdictOf,
} from "./questions.ts";
import { spread, type Test } from "./training-data.ts";
import { writeAll } from "./writing.ts";

/** A text generated about an image. */
export interface Written {
  readonly id: string;
  readonly language: string;
  readonly reference: string;
  readonly text: string;
}

export type Captions = ExactAnswers & { readonly written: readonly Written[] };

/** QLLaMA's captions of every image in every language. */
export async function testCaptions(run: TrainedRun, { data, heldOut }: Test): Promise<Captions> {
  const { tokenizer, set } = data;
  const asked = set.languages.flatMap((language) =>
    set.emoji.map((emoji) => ({ emoji, language, reference: emoji.texts[language]![0]! })),
  );
  const pixelsOf = await picturesOf(set.emoji, heldOut, data.pictures(chat.vision.image));
  const writer = {
    beginning: (p: Parameters<typeof captionPrefill>[0]) => captionPrefill(p, generative),
    step: (p: Parameters<typeof captionStep>[0]) => captionStep(p, generative),
    tokenizer,
    image: generative.vision.image,
    before: generative.text.queries,
    context: generative.text.context,
    longest: generative.text.context,
  };
  const texts = await writeAll(
    run,
    writer,
    asked.map(({ emoji, language }) => ({
      pixels: pixelsOf.get(emoji)!,
      ids: captionPrompt(tokenizer, captionLanguage(language)),
    })),
  );
  const written = asked.map(({ emoji, language, reference }, i) => ({
    id: emoji.id,
    language,
    reference,
    text: texts[i]!,
  }));
  return { ...meanOverLanguages(written), written };
}

/** The mean over languages, as the best constant answer is one per language. */
function meanOverLanguages(written: readonly Written[]): ExactAnswers {
  const languages = [...Map.groupBy(written, (w) => w.language).values()].map((own) =>
    exactAnswers(
      own.map((w) => w.text),
      own.map((w) => w.reference),
    ),
  );
  const mean = (of: (a: ExactAnswers) => number) => languages.reduce((sum, a) => sum + of(a), 0) / languages.length;
  return { exact: mean((a) => a.exact), mostFrequent: mean((a) => a.mostFrequent) };
}

/** A question that was asked about an image. */
export interface Asked extends Question {
  readonly id: string;
  readonly kind: "what" | Thing;
  readonly said: string;
}

export interface Answers {
  readonly yesNo: YesNoMeasures;
  readonly byThing: Readonly<Record<Thing, YesNoMeasures>>;
  readonly names: ExactAnswers;
  readonly asked: readonly Asked[];
}

/** Key of the random stream of negatives; not one that training uses. */
const testStream = 200;

/**
 * In every language: what each image is; and for about every third one, whether it shows a kind of its own, whether it
 * is of its own group, and the same for another emoji's, sampled at random.
 */
export async function testAnswers(run: TrainedRun, { data, heldOut, seed }: Test): Promise<Answers> {
  const { tokenizer, set } = data;
  const random = seededRandom(seed, testStream);
  const judged = spread(set.emoji, Math.ceil(set.emoji.length / 3));
  const asked = set.languages.flatMap((language) => [
    ...set.emoji.map((emoji) => ({ emoji, kind: "what" as const, question: nameQuestion(emoji, language) })),
    ...judged.flatMap((emoji) =>
      things
        .filter((thing) => has(emoji, thing, language))
        .flatMap((thing) =>
          [true, false].map((isRight) => {
            const how = { thing, language, isRight };
            return { emoji, kind: thing, question: drawVerdict(data.whole, emoji, how, random) };
          }),
        ),
    ),
  ]);
  const pixelsOf = await picturesOf(set.emoji, heldOut, data.pictures(chat.vision.image));
  const writer = {
    beginning: (p: Parameters<typeof chatPrefill>[0]) => chatPrefill(p, chat),
    step: (p: Parameters<typeof decodeStep>[0]) => decodeStep(p, chat.text),
    tokenizer,
    image: chat.vision.image,
    before: 0,
    context: chat.text.context,
    longest: mostTargets,
  };
  const texts = await writeAll(
    run,
    writer,
    asked.map(({ emoji, question }) => ({
      pixels: pixelsOf.get(emoji)!,
      ids: questionIds(tokenizer, question.text),
    })),
  );
  const all = asked.map(({ emoji, kind, question }, i) => ({ ...question, id: emoji.id, kind, said: texts[i]! }));
  const names = all.filter((a) => a.kind === "what");
  const verdicts = (of: (thing: Asked["kind"]) => boolean) => {
    const some = all.filter((a) => a.kind !== "what" && of(a.kind));
    return yesNoMeasures(
      some.map((a) => verdictOf(a.said, a.language)),
      some.map((a) => verdictOf(a.answer, a.language)!),
    );
  };
  return {
    yesNo: verdicts(() => true),
    byThing: Object.fromEntries(things.map((thing) => [thing, verdicts((t) => t === thing)])) as Answers["byThing"],
    names: meanOverLanguages(names.map((a) => ({ ...a, reference: a.answer, text: a.said }))),
    asked: all,
  };
}

async function picturesOf(emoji: readonly Emoji[], artist: ArtistId, store: ImageStore): Promise<Map<Emoji, Pixels>> {
  return new Map(await Promise.all(emoji.map(async (e) => [e, await store.read(e.images[artist])] as const)));
}
