/** Opens the data that a stage declares, as a run's settings name it. */
import { type HostTensor, UsageError } from "../../compiler/index.ts";
import {
  type DataCursor,
  type OnChange,
  type OpenData,
  openData,
  packedTexts,
  type SharedReading,
} from "../../data/index.ts";
import { bareIds, type SampleKind, type StageData, type StageSetting, type TextCodec } from "../../dsl/index.ts";
import type { Json, Settings } from "../../runtime/index.ts";

/** Opens the validation data, without augmentation; undefined if there is none. */
export async function openValidation(
  data: StageData,
  settings: Settings,
  batch: number,
  text: TextCodec | undefined,
): Promise<Opened | undefined> {
  const { augmentation: _, ...image } = data.image ?? { size: 0, fit: "squash" as const };
  const specs = lines(settings.validate);
  const plain = data.image ? { ...data, image } : data;
  return specs.length === 0 ? undefined : await openStageData(plain, specs, [], settings, batch, text);
}

/** Rows that were read together. */
export interface ReadBatch {
  readonly pixels?: HostTensor | undefined;
  readonly samples: readonly object[];
  readonly cursor: DataCursor;
}

/** Opened data: rows of samples, or of packed texts. */
export type Opened = Pick<OpenData<SampleKind>, "sources" | "report" | "classes" | "files" | "dispose"> & {
  batches(cursor: Json | undefined, note: (text: string) => void, shared?: SharedReading): AsyncIterable<ReadBatch>;
  once(note: (text: string) => void): AsyncIterable<Omit<ReadBatch, "cursor">>;
};

/** Opens a stage's data. Throws UsageError if it has more classes than the model. */
export async function openStageData(
  { kind, image, classes, length }: StageData,
  specs: readonly string[],
  filters: readonly string[],
  settings: Settings,
  batch: number,
  text: TextCodec | undefined,
  onChange: OnChange = "refuse",
): Promise<Opened> {
  const how = {
    seed: Number(settings.seed),
    buffer: Number(settings.buffer),
    language: String(settings.language),
    filters,
    onChange,
  };
  if (kind === "texts") {
    if (length === undefined || !text)
      throw new UsageError(
        "data of texts needs `length`, the number of tokens in a row, and `vocabulary`, the model's vocabulary size",
      );
    const opened = await openData(specs, kind, { ...how, batch: 1 });
    const encode = (words: string) => bareIds(text, words);
    return packedTexts(opened, { rows: batch, length, encode, end: text.eos });
  }
  if (!image && kind !== "records")
    throw new UsageError(`data of ${kind} needs \`image\`, which declares how images are preprocessed`);
  const opened: OpenData<SampleKind> = await openData<SampleKind>(specs, kind, {
    ...how,
    batch,
    ...(image && { image }),
    ...(Number(settings.workers) >= 0 && { workers: Number(settings.workers) }),
    ...(settings.images !== "" && { images: String(settings.images) }),
  });
  if (classes === undefined || !opened.classes || opened.classes.length <= classes) return opened;
  await opened.dispose();
  throw new UsageError(
    `the data has ${opened.classes.length} classes, but the model has ${classes}: change the model's "classes" with --set`,
  );
}

/** A list is stored as lines, since a run's settings are strings and numbers. */
export const lines = (setting: StageSetting = ""): string[] => (setting === "" ? [] : String(setting).split("\n"));
