/**
 * VQA accuracy: an answer compared with those of ten annotators. Antol et al. 2015, arXiv:1505.00468, section 3;
 * vqaEval.py of VQA v2.
 */
import { UsageError } from "../../compiler/index.ts";

/**
 * An answer is correct if at least three other annotators gave it: the mean, over leaving out each annotator, of min(1,
 * matches / 3). All texts are normalized. With a single reference, the answer must match exactly. Throws UsageError
 * without references.
 */
export function vqaAccuracy(answer: string, people: readonly string[]): number {
  if (people.length === 0) throw new UsageError("a question needs at least one reference answer");
  const said = comparable(answer);
  const agrees = people.map((one) => comparable(one) === said);
  if (people.length === 1) return agrees[0] ? 1 : 0;
  const total = agrees.filter(Boolean).length;
  return agrees.reduce((sum, own) => sum + Math.min(1, (total - (own ? 1 : 0)) / 3), 0) / people.length;
}

/** The normalized text, or its articles if there are no other words: the letter A is neither "the" nor no answer. */
const comparable = (text: string): string => normalizedAnswer(text) || wordsOf(text).join(" ");

/**
 * Lower-cased, without punctuation and articles, with numbers up to ten as digits and contractions with an apostrophe:
 * "The 2 dogs!" and "two dogs" normalize to the same text.
 */
export function normalizedAnswer(text: string): string {
  return wordsOf(text)
    .map((word) => (Object.hasOwn(numerals, word) ? numerals[word]! : word))
    .filter((word) => !articles.includes(word))
    .map((word) => contractions.get(word) ?? word)
    .join(" ");
}

/** Lower-case words without punctuation. */
const wordsOf = (text: string): readonly string[] =>
  withoutPunctuation(text.replace(/[\n\t]/g, " ").trim())
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");

const marks = [...';/[]"{}()=+\\_-><@`,?!'];

/**
 * A mark next to a space is removed, one between letters becomes a space; in a text with a number like 1,000 all are
 * removed.
 */
function withoutPunctuation(text: string): string {
  const hasThousands = /\d,\d/.test(text);
  const goes = (mark: string) => hasThousands || text.includes(`${mark} `) || text.includes(` ${mark}`);
  const left = marks.reduce((rest, mark) => rest.replaceAll(mark, goes(mark) ? "" : " "), text);
  return left.replace(/\.(?!\d)/g, "");
}

const articles: readonly string[] = ["a", "an", "the"];

const numerals: Readonly<Record<string, string>> = {
  none: "0",
  zero: "0",
  one: "1",
  two: "2",
  three: "3",
  four: "4",
  five: "5",
  six: "6",
  seven: "7",
  eight: "8",
  nine: "9",
  ten: "10",
};

/** By their form without the apostrophe; excludes those that would be other words ("were", "well"). */
const contractions: ReadonlyMap<string, string> = new Map(
  `ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's i'm i've isn't
  it'd it'll ma'am might've mightn't must've mustn't needn't o'clock oughtn't shan't she's should've shouldn't somebody's
  someone's that's there'd there're there's they'd they'll they're they've wasn't we've weren't what'll what're what's
  what've when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all you'd
  you'll you're you've`
    .split(/\s+/)
    .map((word) => [word.replace("'", ""), word]),
);
