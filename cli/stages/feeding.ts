/** The batches of a stage: samples out of the user's data, made into what the step is fed. */
import { crc32 } from "node:zlib";
import { UsageError } from "../../compiler/index.ts";
import { type OpenData, openData, seededRandom } from "../../data/index.ts";
import type { FeedContext, Recipe, SampleKind, SampleOf, StageSetting, TextCodec } from "../../dsl/index.ts";
import { type Json, type Settings, type TrainingJob, writtenConversation } from "../../runtime/index.ts";

export interface StageFeeding extends Pick<TrainingJob, "batches"> {
  /** For people, a line for each place that samples come from. */
  readonly report: readonly string[];
  /** What was skipped or changed so far, with how often. */
  readonly told: () => Readonly<Record<string, Json>>;
  readonly dispose: () => Promise<void>;
}

/** Opens the data that a stage's record asks for. Throws UsageError where classes are more than the model has. */
export async function feedStage(
  { data }: Pick<Recipe, "data">,
  settings: Settings,
  batch: number,
  text: TextCodec | undefined,
): Promise<StageFeeding> {
  const { kind, image, feeds, classes } = data!;
  const seed = Number(settings.seed);
  const specs = lines(settings.data);
  const opened: OpenData<SampleKind> = await openData(specs, kind, {
    batch,
    seed,
    image,
    buffer: Number(settings.buffer),
    language: String(settings.language),
    filters: lines(settings.filters),
    ...(Number(settings.workers) >= 0 && { workers: Number(settings.workers) }),
    ...(settings.images !== "" && { images: String(settings.images) }),
  });
  if (classes !== undefined && opened.classes && opened.classes.length > classes) {
    await opened.dispose();
    throw new UsageError(
      `the data has ${opened.classes.length} classes and the model ${classes}: change the model's "classes" with --set`,
    );
  }
  const counts = new Map<string, number>();
  async function* batches(cursor: Json | undefined, note: (text: string) => void) {
    for await (const { pixels, samples, cursor: next } of opened.batches(cursor, note)) {
      const context = contextOf(text, seed, next as unknown as Json, (what) => {
        if (!counts.has(what)) note(what);
        counts.set(what, (counts.get(what) ?? 0) + 1);
      });
      const rest = feeds(samples as unknown as readonly SampleOf<SampleKind>[], context);
      yield { feeds: { pixels, ...rest }, next: next as unknown as Json };
    }
  }
  return {
    batches,
    report: opened.report,
    told: () =>
      ({ skipped: Object.fromEntries(opened.skipped()), changed: Object.fromEntries(counts) }) as Readonly<
        Record<string, Json>
      >,
    dispose: () => opened.dispose(),
  };
}

/** A list is kept as lines, since settings of a run are words and numbers. */
const lines = (setting: StageSetting = ""): string[] => (setting === "" ? [] : String(setting).split("\n"));

/** What the feeds of a batch are made with; its random numbers follow from the seed and from where the data then is. */
function contextOf(text: TextCodec | undefined, seed: number, next: Json, count: (what: string) => void): FeedContext {
  return {
    get text() {
      if (text) return text;
      throw new UsageError("this stage makes ids of texts: its data says with `vocabulary` how many ids the model has");
    },
    random: seededRandom(seed, crc32(JSON.stringify(next))),
    count,
    written: (template, turns, image) => writtenConversation(template, text!, turns, image),
  };
}
