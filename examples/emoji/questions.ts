/** What stage 3 is asked about pictures: what they show, whether they show this or that, and which group it is of. */
import { type EmojiSet, pick, type Random } from "../../data/index.ts";

export type Emoji = EmojiSet["emoji"][number];

/** A question about a picture, with the answer that the annotations give. */
export interface Question {
  readonly language: string;
  readonly text: string;
  readonly answer: string;
}

/** How one language asks. */
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

/** Whether the picture shows `thing`. */
function yesNoQuestion(thing: string, language: string, isRight: boolean): Question {
  const { isThis, yes, no } = wordings[language]!;
  return { language, text: isThis(thing), answer: isRight ? yes : no };
}

/** What an answer says: yes, no, or neither. */
export function verdictOf(answer: string, language: string): "yes" | "no" | undefined {
  const { yes, no } = wordings[language]!;
  return answer === yes ? "yes" : answer === no ? "no" : undefined;
}

/** What a picture is said to show or not: the emoji's name, one of all its texts, or the group that it is in. */
export type Thing = "name" | "keyword" | "group";

const texts: Readonly<Record<Thing, (emoji: Emoji, language: string) => readonly string[]>> = {
  name: (emoji, language) => emoji.texts[language]!.slice(0, 1),
  keyword: (emoji, language) => emoji.texts[language]!,
  group: ({ category }) => [category],
};

export const things = Object.keys(texts) as readonly Thing[];

/** A question about a thing: of the emoji itself, or of one of `set` that is drawn from those that have it not. */
export function drawVerdict(
  set: EmojiSet,
  emoji: Emoji,
  { thing, language, isRight }: { readonly thing: Thing; readonly language: string; readonly isRight: boolean },
  random: Random,
): Question {
  const of = texts[thing];
  const own = new Set(thing === "group" ? of(emoji, language) : emoji.texts[language]!);
  for (;;) {
    const text = pick(random, of(isRight ? emoji : pick(random, set.emoji), language));
    if (own.has(text) === isRight) return yesNoQuestion(text, language, isRight);
  }
}

/** Shares of the questions in training; the rest are about the group. */
const [names, verdicts] = [0.2, 0.75];

/** A question for training, drawn: yes is right as often as no. */
export function drawQuestion(set: EmojiSet, emoji: Emoji, random: Random): Question {
  const language = pick(random, set.languages);
  const kind = random();
  if (kind < names) return nameQuestion(emoji, language);
  if (kind < names + verdicts) {
    return drawVerdict(set, emoji, { thing: pick(random, things), language, isRight: random() < 0.5 }, random);
  }
  return groupOf(emoji);
}

/** All questions and answers about names, which the tokenizer learns beside the names themselves. */
export function questionTexts({ emoji, languages }: EmojiSet): string[] {
  return languages.flatMap((l) => [
    ...emoji.map((e) => `\n${wordings[l]!.isThis(e.texts[l]![0]!)}`),
    ...emoji.flatMap((e) => [`\n${wordings[l]!.name}`, ` ${e.texts[l]![0]!}`]),
  ]);
}
