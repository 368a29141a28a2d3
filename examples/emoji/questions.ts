/** The questions of stage 3 about images: what they show, whether they show something, and their group. */
import { pick, type Random } from "../../data/index.ts";
import type { EmojiSet } from "./set.ts";

export type Emoji = EmojiSet["emoji"][number];

/** A question about an image, with the answer that the annotations give. */
export interface Question {
  readonly language: string;
  readonly text: string;
  readonly answer: string;
}

/** The wording of one language. */
interface Wording {
  readonly name: string;
  readonly isThis: (thing: string) => string;
  readonly yes: string;
  readonly no: string;
}

const wordings: Readonly<Record<string, Wording>> = {
  en: { name: "What is this?", isThis: (x) => `Is this ${x}?`, yes: "yes", no: "no" },
  zh: { name: "这是什么？", isThis: (x) => `这是${x}吗？`, yes: "是", no: "否" },
  ar: { name: "ما هذا؟", isThis: (x) => `هل هذا ${x}؟`, yes: "نعم", no: "لا" },
  es: { name: "¿Qué es esto?", isThis: (x) => `¿Es esto ${x}?`, yes: "sí", no: "no" },
};

/** Unicode's groups have names in English only. */
const groupQuestion = "Which group is it?";

export function nameQuestion(emoji: Emoji, language: string): Question {
  return { language, text: wordings[language]!.name, answer: emoji.texts[language]![0]! };
}

const groupOf = ({ category }: Emoji): Question => ({ language: "en", text: groupQuestion, answer: category });

/** Asks whether the image shows `thing`. */
function yesNoQuestion(thing: string, language: string, isRight: boolean): Question {
  const { isThis, yes, no } = wordings[language]!;
  return { language, text: isThis(thing), answer: isRight ? yes : no };
}

/** Parses an answer: yes, no, or neither. */
export function verdictOf(answer: string, language: string): "yes" | "no" | undefined {
  const { yes, no } = wordings[language]!;
  return answer === yes ? "yes" : answer === no ? "no" : undefined;
}

/**
 * What a yes/no question is about: a keyword that many emoji share, such as "face" or "clock", like POPE's objects of
 * common classes (Li et al. 2023, arXiv:2305.10355); or the emoji's Unicode group.
 */
export type Thing = "kind" | "group";

const textsOf: Readonly<Record<Thing, (emoji: Emoji, language: string) => readonly string[]>> = {
  kind: (emoji, language) => emoji.kinds[language]!,
  group: ({ category }) => [category],
};

export const things = Object.keys(textsOf) as readonly Thing[];

/** Whether an emoji has something of this sort. */
export const has = (emoji: Emoji, thing: Thing, language: string): boolean =>
  textsOf[thing](emoji, language).length > 0;

/**
 * A yes/no question: about something of the emoji's own, or something sampled from another emoji of `set` that it
 * lacks.
 */
export function drawVerdict(
  set: EmojiSet,
  emoji: Emoji,
  { thing, language, isRight }: { readonly thing: Thing; readonly language: string; readonly isRight: boolean },
  random: Random,
): Question {
  const of = textsOf[thing];
  const own = new Set([...of(emoji, language), ...emoji.texts[language]!]);
  for (;;) {
    const texts = of(isRight ? emoji : pick(random, set.emoji), language);
    if (texts.length === 0) continue;
    const text = pick(random, texts);
    if (own.has(text) === isRight) return yesNoQuestion(text, language, isRight);
  }
}

/** Fractions of the training questions; the rest are about the group. */
const [names, verdicts] = [0.15, 0.8];

/**
 * The fraction of yes/no questions whose answer is yes: an unseen artist's drawings look less like the training data,
 * which biases answers towards no.
 */
const rightShare = 0.54;

/** Samples a training question. */
export function drawQuestion(set: EmojiSet, emoji: Emoji, random: Random): Question {
  const language = pick(random, set.languages);
  const kind = random();
  if (kind < names) return nameQuestion(emoji, language);
  if (kind < names + verdicts) {
    const thing = pick(
      random,
      things.filter((t) => has(emoji, t, language)),
    );
    return drawVerdict(set, emoji, { thing, language, isRight: random() < rightShare }, random);
  }
  return groupOf(emoji);
}

/** All questions, and the answers that are names, as text to train the tokenizer on. */
export function questionTexts({ emoji, languages }: EmojiSet): string[] {
  return languages.flatMap((l) => [
    ...emoji.flatMap((e) => things.flatMap((thing) => textsOf[thing](e, l)).map((x) => `\n${wordings[l]!.isThis(x)}`)),
    ...emoji.flatMap((e) => [`\n${wordings[l]!.name}`, ` ${e.texts[l]![0]!}`]),
  ]);
}
