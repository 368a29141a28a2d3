/** What the report of an emoji run says: recall, and what a dozen queries find. */
import {
  type ArtistId,
  artists,
  type EmojiSet,
  imageDataUri,
  nearest,
  type Recall,
  rightRanks,
} from "../../data/index.ts";
import {
  type Card,
  type Cell,
  type Picture,
  percent,
  type Section,
  type Text,
  type TrainedRun,
  writeJobReport,
} from "../../runtime/index.ts";
import type { Evaluation } from "./evaluate.ts";

/** Asked of the model in the languages given; ids are code points. */
const queries: readonly (readonly [string, string])[] = [
  ["1F408", "en"],
  ["1F34E", "zh"],
  ["1F680", "es"],
  ["1F319", "ar"],
  ["1F3B8", "en"],
  ["1F433", "zh"],
  ["1F335", "es"],
  ["2615", "ar"],
  ["1F525", "en"],
  ["1F995", "zh"],
  ["1F682", "es"],
  ["1F451", "ar"],
];

export interface ReportOptions {
  readonly batch: number;
  readonly heldOut: ArtistId;
  readonly trained: readonly ArtistId[];
}

/** Writes what the report of the run says of emoji: recall beside chance, what queries find, whose pictures these are. */
export async function writeReport(
  run: TrainedRun,
  set: EmojiSet,
  result: Evaluation,
  { batch, heldOut, trained }: ReportOptions,
): Promise<void> {
  const stranger = artists[heldOut].name;
  const cards = await Promise.all(queries.flatMap(([id, language]) => queryCard(set, result, id, language, heldOut)));
  await writeJobReport(run.folder, {
    title: "Emoji in four languages, drawn by a stranger",
    lead: `A small InternVL-C learned emoji from ${list(trained.map((a) => artists[a].name))}, then looked for them among ${stranger}'s drawings, which it had never seen.`,
    sections: [
      ...headline(result, stranger),
      { kind: "heading", text: "What it finds" },
      {
        kind: "paragraph",
        text: `For each text the nearest pictures by ${stranger}, best first, with their cosine similarity. ✓ marks the one that the text names. Where it is not among them, it follows in a dashed frame with its place.`,
      },
      { kind: "cards", cards },
      { kind: "heading", text: "How often it is right" },
      recallTable(result),
    ],
    levels: { loss: [{ at: Math.log(batch), label: "guessing" }] },
    closing: [
      { kind: "heading", text: "With thanks to" },
      {
        kind: "list",
        items: set.credits.map(({ name, author, link, license, licenseLink }) => [
          { text: name, link },
          ` by ${author}, `,
          { text: license, link: licenseLink },
        ]),
      },
    ],
  });
}

/** The one number to remember: the first language's share of texts whose picture was among the first ten. */
function headline({ recall, chance, candidates }: Evaluation, stranger: string): Section[] {
  const [language, first] = Object.entries(recall)[0] ?? [];
  const [found, guessed] = [first?.textToImage.r10, chance.r10];
  if (language === undefined || found === undefined || guessed === undefined) return [];
  return [
    {
      kind: "headline",
      value: percent(found),
      text: `of the ${nameOf(language)} names found their picture among the first ten of ${candidates.toLocaleString("en")}, all drawn by ${stranger}, whose work was not in training.`,
      aside: `Guessing finds ${percent(guessed)}: this is ${times(found / guessed)} as good.`,
    },
  ];
}

/** Both directions, for each language and for chance. */
function recallTable({ recall, chance, candidates }: Evaluation): Section {
  const ks = ["r1", "r5", "r10"] as const;
  const cells = (r: Recall): Cell[] => ks.map((k) => (r[k] === undefined ? null : { share: r[k] }));
  const heads = (direction: string) => ks.map((k) => `${direction}, ${k.slice(1)}`);
  return {
    kind: "table",
    caption: `How often the right one is among the first 1, 5, or 10 of ${candidates.toLocaleString("en")} candidates.`,
    head: ["language", ...heads("text to image"), ...heads("image to text")],
    rows: Object.entries(recall).map(([language, { textToImage, imageToText }]) => [
      named(language),
      ...cells(textToImage),
      ...cells(imageToText),
    ]),
    foot: ["chance", ...cells(chance), ...cells(chance)],
  };
}

/** A text, the five pictures nearest to it, and the right one where it is not among them. */
function queryCard(
  set: EmojiSet,
  result: Evaluation,
  id: string,
  language: string,
  heldOut: ArtistId,
): Promise<Card>[] {
  const index = set.emoji.findIndex((e) => e.id === id);
  const texts = result.texts[language];
  if (index < 0 || !texts) return []; // an emoji or language that a chosen set does not have
  const emoji = set.emoji[index]!;
  const picture = async (i: number) => ({
    image: await imageDataUri(set.emoji[i]!.images[heldOut], 64),
    description: set.emoji[i]!.texts.en?.[0] ?? set.emoji[i]!.characters,
  });
  const rank = rightRanks(texts, result.images)[index]!;
  const describe = async (): Promise<Card> => {
    const found = await Promise.all(
      nearest(texts, index, result.images, 5).map(
        async (n): Promise<Picture> => ({
          ...(await picture(n.index)),
          note: n.score.toFixed(2),
          ...(n.index === index && { mark: "right" }),
        }),
      ),
    );
    const missed = found.every(({ mark }) => mark === undefined);
    return {
      title: { text: emoji.texts[language]![0]!, language },
      remarks: [
        {
          label: nameOf(language),
          text: language !== "en" && emoji.texts.en ? `“${emoji.texts.en[0]!}”` : "",
        },
      ],
      pictures: missed ? [...found, { ...(await picture(index)), note: ordinal(rank), mark: "expected" }] : found,
    };
  };
  return [describe()];
}

/** What a language is called in English, and what it calls itself where that differs. */
function named(language: string): Text {
  const own = displayName(language, language);
  return own === nameOf(language) ? own : [`${nameOf(language)} `, { text: own, language }];
}

const nameOf = (language: string): string => displayName(language, "en");

const displayName = (language: string, inLanguage: string): string =>
  new Intl.DisplayNames([inLanguage], { type: "language" }).of(language) ?? language;

const times = (ratio: number): string =>
  `${ratio.toLocaleString("en", { maximumSignificantDigits: ratio >= 10 ? 2 : 1 })} times`;

const endings: Readonly<Record<string, string>> = { one: "st", two: "nd", few: "rd", other: "th" };
const ordinals = new Intl.PluralRules("en", { type: "ordinal" });
const ordinal = (n: number): string => `${n.toLocaleString("en")}${endings[ordinals.select(n)]}`;

const list = (names: readonly string[]): string => `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
