/** The declaration of the data that a stage trains on. */
import { declarationFault, declaredHere, isPlain, isPromise, kindOfValue, refuse, strayFields } from "./declared.ts";
import { type Paddings, paddingFaults } from "./padding.ts";
import { recordFeeds } from "./record-feeds.ts";
import type { RecordSample, SampleKind, StageData } from "./samples.ts";

const dataFields: Readonly<Record<keyof StageData, true>> = {
  kind: true,
  image: true,
  length: true,
  vocabulary: true,
  classes: true,
  filters: true,
  perRow: true,
  targets: true,
  padding: true,
  feeds: true,
};

/** The data of a stage as it is declared: `feeds` may be left out for records. */
export type DeclaredData<K extends SampleKind> = Omit<StageData<K>, "feeds"> &
  (K extends "records" ? Partial<Pick<StageData<K>, "feeds">> : Pick<StageData<K>, "feeds">);

/**
 * A stage's data. Erases the kind from the type, so that records of all kinds share one; rows are checked when they are
 * read. Throws one UsageError naming every field that is misspelt, and where `feeds` is called, one for feeds that are
 * no record.
 */
export function stageData<K extends SampleKind>(data: DeclaredData<K>): StageData {
  if (!isPlain(data)) refuse([`the data of a stage must be an object { kind, feeds }, got ${kindOfValue(data)}`]);
  const { kind, padding, feeds = kind === "records" ? ofRecords(padding) : undefined } = data as StageData;
  refuse([
    ...strayFields("the data of a stage", data, Object.keys(dataFields)),
    ...(kind === "records" || padding === undefined ? [] : [`padding is for records, not for ${kind}`]),
    ...(padding !== undefined && data.feeds !== undefined
      ? ["padding is not read with `feeds`: give it to recordFeeds(rows, context, padding) there"]
      : []),
    ...paddingFaults(padding),
    ...(typeof feeds === "function"
      ? []
      : [`the data of a stage needs \`feeds\`, a function (rows) => ({ name: tensor }), got ${kindOfValue(feeds)}`]),
  ]);
  const declared = declaredHere();
  const checked: StageData["feeds"] = (rows, context) => {
    const made = feeds!(rows, context);
    if (isPlain(made)) return made;
    const fault = isPromise(made) ? "a promise (remove `async`)" : kindOfValue(made);
    throw declarationFault(declared, `feeds returns ${fault}; expected the inputs of the step: { label: perRow([1]) }`);
  };
  return { ...data, feeds: checked } as unknown as StageData;
}

const ofRecords =
  (padding: Paddings | undefined): StageData["feeds"] =>
  (rows, context) =>
    recordFeeds(rows as readonly RecordSample[], context, padding);
