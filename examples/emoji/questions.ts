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
export function yesNoQuestion(thing: string, language: string, isRight: boolean): Question {
  const { isThis, yes, no } = wordings[language]!;
  return { language, text: isThis(thing), answer: isRight ? yes : no };
}

/** What an answer says: yes, no, or neither. */
export function verdictOf(answer: string, language: string): "yes" | "no" | undefined {
  const { yes, no } = wordings[language]!;
  return answer === yes ? "yes" : answer === no ? "no" : undefined;
}

/** Shares of the questions in training; the rest are about the group. */
const [names, verdicts] = [0.25, 0.7];

/** A question for training, drawn: things asked about are names and keywords, of the emoji itself as often as of another one. */
export function drawQuestion(set: EmojiSet, emoji: Emoji, random: Random): Question {
  const language = pick(random, set.languages);
  const kind = random();
  if (kind < names) return nameQuestion(emoji, language);
  if (kind < names + verdicts) {
    const isRight = random() < 0.5;
    const thing = pick(random, (isRight ? emoji : another(set, emoji, language, random)).texts[language]!);
    return yesNoQuestion(thing, language, isRight);
  }
  return groupOf(emoji);
}

/** Another emoji, none of whose texts in the language is one of this emoji's. */
export function another({ emoji: all }: EmojiSet, emoji: Emoji, language: string, random: Random): Emoji {
  const own = new Set(emoji.texts[language]!);
  for (;;) {
    const other = pick(random, all);
    if (other !== emoji && !other.texts[language]!.some((t) => own.has(t))) return other;
  }
}

/** All questions and answers about names, which the tokenizer learns beside the names themselves. */
export function questionTexts({ emoji, languages }: EmojiSet): string[] {
  return languages.flatMap((l) => [
    ...emoji.map((e) => `\n${wordings[l]!.isThis(e.texts[l]![0]!)}`),
    ...emoji.flatMap((e) => [`\n${wordings[l]!.name}`, ` ${e.texts[l]![0]!}`]),
  ]);
}
