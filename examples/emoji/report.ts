/** The page that a run leaves: loss curve, recall, and what a dozen queries find. */
import { join } from "node:path";
import {
  type ArtistId,
  artists,
  type EmojiSet,
  imageDataUri,
  nearest,
  type ReportQuery,
  renderReport,
  rightRanks,
} from "../../data/index.ts";
import { formatDuration, type TrainedRun, writeFileAtomically } from "../../runtime/index.ts";
import type { Evaluation } from "./evaluate.ts";
import type { Test } from "./training-data.ts";

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

/** What a text found: ids of emoji, best first, with their cosines, and where the right one came (from 1). */
export interface FoundByText {
  readonly id: string;
  readonly language: string;
  readonly found: readonly { readonly id: string; readonly score: number }[];
  readonly rank: number;
}

/** What the queries of the report find. */
export function queriesOf(
  { data: { set } }: Pick<Test, "data">,
  { images, texts }: Pick<Evaluation, "images" | "texts">,
): FoundByText[] {
  const ranks = new Map(Object.entries(texts).map(([language, t]) => [language, rightRanks(t, images)]));
  return queries.flatMap(([id, language]) => {
    const index = set.emoji.findIndex((e) => e.id === id);
    const asked = texts[language];
    if (index < 0 || !asked) return []; // an emoji or language that a chosen set does not have
    const found = nearest(asked, index, images, 5).map((n) => ({ id: set.emoji[n.index]!.id, score: n.score }));
    return [{ id, language, found, rank: ranks.get(language)![index]! }];
  });
}

/** The page of the whole run, made when its last stage is finished. */
export async function writeReport(run: TrainedRun, test: Test, answers: object): Promise<void> {
  run.note(JSON.stringify(answers).slice(0, 300) + String(test.batch));
}
