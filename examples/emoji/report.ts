/** The report of an emoji run: what each stage added, retrieval results, captions and answers. */
import { imageDataUri, nearest, type Recall, rightRanks } from "../../data/index.ts";
import {
  type Card,
  type Cell,
  type JobReport,
  type Mark,
  type Picture,
  percent,
  type Remark,
  type Section,
  type Text,
  writeJobReport,
} from "../../runtime/index.ts";
import { artists } from "./artists.ts";
import type { Evaluation } from "./evaluate.ts";
import type { Answers, Captions, Written } from "./tests.ts";
import type { Test } from "./training-data.ts";

/** The test results of each stage; undefined for stages not trained yet. */
export interface Findings {
  readonly contrastive: Pick<Evaluation, "recall" | "chance" | "candidates"> & {
    readonly queries: readonly FoundByText[];
  };
  readonly generative?: Pick<Evaluation, "recall"> & { readonly captions: Captions };
  readonly answering?: Answers;
}

/** A retrieval result: ids of emoji, best first, with their cosines, and the rank of the right one (from 1). */
export interface FoundByText {
  readonly id: string;
  readonly language: string;
  readonly found: readonly { readonly id: string; readonly score: number }[];
  readonly rank: number;
}

/** The queries shown, by language; ids are code points. */
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

/** The retrieval results of the queries. */
export function queriesOf(
  { data: { set } }: Pick<Test, "data">,
  { images, texts }: Pick<Evaluation, "images" | "texts">,
): FoundByText[] {
  const ranks = new Map(Object.entries(texts).map(([language, t]) => [language, rightRanks(t, images)]));
  return queries.flatMap(([id, language]) => {
    const index = set.emoji.findIndex((e) => e.id === id);
    const asked = texts[language];
    if (index < 0 || !asked) return []; // an emoji or language that the chosen set lacks
    const found = nearest(asked, index, images, 5).map((n) => ({ id: set.emoji[n.index]!.id, score: n.score }));
    return [{ id, language, found, rank: ranks.get(language)![index]! }];
  });
}

/** Writes the emoji part of the report to the run's folder, again after each stage with its results. */
export async function writeReport(folder: string, test: Test, findings: Findings): Promise<void> {
  const { data, heldOut, drawnBy, batch } = test;
  const stranger = artists[heldOut].name;
  const learned = new Intl.ListFormat("en").format(drawnBy.map((a) => artists[a].name));
  const { contrastive, generative, answering } = findings;
  const shown = showing(test);
  const report: JobReport = {
    title: "Emoji in four languages, drawn by a stranger",
    lead: `A small InternVL learned emoji from ${learned} in three stages, and was asked about ${stranger}'s drawings, which it had never seen.`,
    sections: [
      ...headline(findings, stranger),
      { kind: "heading", text: "What each stage added" },
      addedTable(findings),
      ...(generative || answering ? [measures(findings)] : []),
      ...(contrastive.queries.length > 0 ? await querySections(contrastive.queries, stranger, shown) : []),
      ...(generative ? await captionSections(generative.captions, shown) : []),
      ...(answering ? await answerSections(answering, shown) : []),
      { kind: "heading", text: "How often it is right" },
      recallTable(contrastive, contrastive, "After the first stage"),
      ...(generative ? [recallTable(generative, contrastive, "After the second stage")] : []),
    ],
    levels: { loss: [{ at: Math.log(batch), label: "guessing" }] },
    closing: [
      { kind: "heading", text: "With thanks to" },
      {
        kind: "list",
        items: data.set.credits.map(({ name, author, link, license, licenseLink }) => [
          { text: name, link },
          ` by ${author}, `,
          { text: license, link: licenseLink },
        ]),
      },
    ],
  };
  await writeJobReport(folder, report);
}

/** The headline figure: recall at 10 of images by texts in the first language. */
function headline({ contrastive, generative }: Findings, stranger: string): Section[] {
  const { chance, candidates } = contrastive;
  const [language, first] = Object.entries((generative ?? contrastive).recall)[0] ?? [];
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

const shareOf = (recall: Recall | undefined): Cell => (recall?.r10 === undefined ? null : { share: recall.r10 });

/** Recall at 10 of C and of G, side by side. */
function addedTable({ contrastive, generative }: Findings): Section {
  const after = (language: string) => generative?.recall[language];
  return {
    kind: "table",
    caption: `How often the right one is among the first ten of ${contrastive.candidates.toLocaleString("en")}: for InternVL-C, the first stage, and InternVL-G, the second.`,
    head: ["language", "text to image, C", "G", "image to text, C", "G"],
    rows: Object.entries(contrastive.recall).map(([language, c]) => [
      named(language),
      shareOf(c.textToImage),
      shareOf(after(language)?.textToImage),
      shareOf(c.imageToText),
      shareOf(after(language)?.imageToText),
    ]),
    foot: ["chance", ...[0, 1, 2, 3].map(() => shareOf(contrastive.chance))],
  };
}

/** Metrics other than recall. */
function measures({ generative, answering }: Findings): Section {
  const captions = generative?.captions;
  const facts = [
    ...(captions
      ? [
          {
            label: "Captions right to the letter",
            value: percent(captions.exact),
            note: `one answer to all: ${percent(captions.mostFrequent)}`,
          },
        ]
      : []),
    ...(answering
      ? [
          {
            label: "Names answered right to the letter",
            value: percent(answering.names.exact),
            note: `one answer to all: ${percent(answering.names.mostFrequent)}`,
          },
          {
            label: "Yes or no: accuracy",
            value: percent(answering.yesNo.accuracy),
            note: "as many yes as no: guessing gives 50%",
          },
          { label: "F1", value: percent(answering.yesNo.f1) },
          { label: "Precision", value: percent(answering.yesNo.precision) },
          { label: "Recall", value: percent(answering.yesNo.recall) },
        ]
      : []),
  ];
  return { kind: "facts", facts };
}

/** A test image by the held-out artist, of the emoji with an id. */
interface Shown {
  readonly picture: (id: string) => Promise<Pick<Picture, "image" | "description">>;
  readonly name: (id: string, language: string) => string;
}

function showing({ data: { set }, heldOut }: Test): Shown {
  const known = new Map(set.emoji.map((e) => [e.id, e]));
  return {
    name: (id, language) => known.get(id)!.texts[language]![0]!,
    picture: async (id) => {
      const emoji = known.get(id)!;
      return {
        image: await imageDataUri(emoji.images[heldOut], 64),
        description: emoji.texts.en?.[0] ?? emoji.characters,
      };
    },
  };
}

async function querySections(found: readonly FoundByText[], stranger: string, shown: Shown): Promise<Section[]> {
  return [
    { kind: "heading", text: "What it finds" },
    {
      kind: "paragraph",
      text: `For each text the nearest pictures by ${stranger} after the first stage, best first, with their cosine similarity. ✓ marks the one that the text names. Where it is not among them, it follows in a dashed frame with its place.`,
    },
    { kind: "cards", cards: await Promise.all(found.map((query) => queryCard(query, shown))) },
  ];
}

/** A text, its five nearest images, and the right one if it is not among them. */
async function queryCard({ id, language, found, rank }: FoundByText, shown: Shown): Promise<Card> {
  const pictures = await Promise.all(
    found.map(
      async (n): Promise<Picture> => ({
        ...(await shown.picture(n.id)),
        note: n.score.toFixed(2),
        ...(n.id === id && { mark: "right" }),
      }),
    ),
  );
  const missed = found.every((n) => n.id !== id);
  return {
    title: { text: shown.name(id, language), language },
    remarks: [{ label: nameOf(language), text: language === "en" ? "" : `“${shown.name(id, "en")}”` }],
    pictures: missed
      ? [...pictures, { ...(await shown.picture(id)), note: ordinal(rank), mark: "expected" }]
      : pictures,
  };
}

const mark = (isRight: boolean): Mark => (isRight ? "right" : "wrong");

/** Some tested ids, including those of the queries if they were tested. */
function examplesOf(tested: readonly { readonly id: string }[], count: number): string[] {
  const there = new Set(tested.map((t) => t.id));
  return [...new Set([...queries.map(([id]) => id).filter((id) => there.has(id)), ...there])].slice(0, count);
}

/** A model that has learned little may end a text at once. */
const textOrNothing = (text: string): string => (text.trim() === "" ? "(nothing)" : text);

async function captionSections({ written }: Captions, shown: Shown): Promise<Section[]> {
  const remarks = ({ language, text, reference }: Written): Remark[] => [
    { label: nameOf(language), text: { text: textOrNothing(text), language }, mark: mark(text === reference) },
    ...(text === reference ? [] : [{ label: "named", text: { text: reference, language }, mark: "expected" } as const]),
  ];
  const cards = examplesOf(written, 6).map(
    async (id): Promise<Card> => ({
      pictures: [await shown.picture(id)],
      remarks: written.filter((w) => w.id === id).flatMap(remarks),
    }),
  );
  return [
    { kind: "heading", text: "What it writes" },
    {
      kind: "paragraph",
      text: "Captions by QLLaMA after the second stage, in each language. A caption counts as right only where it is the emoji's name to the letter.",
    },
    { kind: "cards", cards: await Promise.all(cards) },
  ];
}

async function answerSections({ asked }: Answers, shown: Shown): Promise<Section[]> {
  const languages = [...new Set(asked.map((a) => a.language))];
  const cards = examplesOf(asked, 8).map(
    async (id, i): Promise<Card> => ({
      pictures: [await shown.picture(id)],
      remarks: asked
        .filter((a) => a.id === id && a.language === languages[i % languages.length])
        .flatMap(({ text, said, answer, language }): Remark[] => [
          { text: { text, language } },
          { label: "says", text: { text: textOrNothing(said), language }, mark: mark(said === answer) },
        ]),
    }),
  );
  return [
    { kind: "heading", text: "What it answers" },
    {
      kind: "paragraph",
      text: "Questions after the third stage. Whether a picture shows something is asked once about its own name, and once about another emoji's, drawn at random.",
    },
    { kind: "cards", cards: await Promise.all(cards) },
  ];
}

/** Recall in both directions, for each language and by chance. */
function recallTable(
  { recall }: Pick<Evaluation, "recall">,
  { chance, candidates }: Pick<Evaluation, "chance" | "candidates">,
  when: string,
): Section {
  const ks = ["r1", "r5", "r10"] as const;
  const cells = (r: Recall): Cell[] => ks.map((k) => (r[k] === undefined ? null : { share: r[k] }));
  const heads = (direction: string) => ks.map((k) => `${direction}, ${k.slice(1)}`);
  return {
    kind: "table",
    caption: `${when}: how often the right one is among the first 1, 5, or 10 of ${candidates.toLocaleString("en")} candidates.`,
    head: ["language", ...heads("text to image"), ...heads("image to text")],
    rows: Object.entries(recall).map(([language, { textToImage, imageToText }]) => [
      named(language),
      ...cells(textToImage),
      ...cells(imageToText),
    ]),
    foot: ["chance", ...cells(chance), ...cells(chance)],
  };
}

/** A language's name in English, and its own name if different. */
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
