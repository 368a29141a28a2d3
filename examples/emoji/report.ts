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

export async function writeReport(
  run: TrainedRun,
  set: EmojiSet,
  result: Evaluation,
  options: ReportOptions,
): Promise<void> {
  const languages = Object.entries(result.recall).map(([language, r]) => ({ language, ...r }));
  const parameters = [...run.weights.values()].reduce((n, t) => n + t.data.length, 0);
  const page = renderReport({
    title: "Emoji in four languages, drawn by a stranger",
    lead: `A small InternVL-C learned emoji from ${list(options.trained.map((a) => artists[a].name))}, then looked for them among ${artists[options.heldOut].name}'s drawings, which it had never seen.`,
    facts: [
      { label: "Device", value: run.backend.device.name, note: run.deviceReason },
      {
        label: "Model",
        value: `${(parameters / 1e6).toFixed(2)} million parameters`,
        note: "InternViT and LLaMA blocks, scaled down",
      },
      {
        label: "Training",
        value: `${run.losses.length} steps of ${options.batch} pairs in ${formatDuration(run.seconds)}`,
      },
      {
        label: "Candidates",
        value: `${result.candidates} emoji`,
        note: "all base emoji that every artist drew and every language names",
      },
    ],
    loss: run.losses,
    chanceLoss: Math.log(options.batch),
    heldOut: artists[options.heldOut].name,
    candidates: result.candidates,
    recall: languages,
    chance: result.chance,
    queries: await Promise.all(
      queries.flatMap(([id, language]) => reportQuery(set, result, id, language, options.heldOut)),
    ),
    credits: set.credits,
  });
  await writeFileAtomically(join(run.folder, "report.html"), page);
  run.note(`report: ${join(run.folder, "report.html")}`);
}

function reportQuery(
  set: EmojiSet,
  result: Evaluation,
  id: string,
  language: string,
  heldOut: ArtistId,
): Promise<ReportQuery>[] {
  const index = set.emoji.findIndex((e) => e.id === id);
  const texts = result.texts[language];
  if (index < 0 || !texts) return []; // an emoji or language that a chosen set does not have
  const emoji = set.emoji[index]!;
  const picture = (i: number) => imageDataUri(set.emoji[i]!.images[heldOut], 64);
  const describe = async (): Promise<ReportQuery> => ({
    text: emoji.texts[language]![0]!,
    language,
    ...(language !== "en" && emoji.texts.en && { meaning: emoji.texts.en[0]! }),
    found: await Promise.all(
      nearest(texts, index, result.images, 5).map(async (n) => ({
        image: await picture(n.index),
        label: set.emoji[n.index]!.texts.en?.[0] ?? set.emoji[n.index]!.characters,
        score: n.score,
        right: n.index === index,
      })),
    ),
    answer: { image: await picture(index), rank: rightRanks(texts, result.images)[index]! },
  });
  return [describe()];
}

const list = (names: readonly string[]): string => `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
