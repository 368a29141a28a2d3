/** A job's contribution to its run's report, stored in the run's folder. */
import { join } from "#host";
import { UsageError } from "../../compiler/index.ts";
import { isRecord } from "../cached-file.ts";
import { writeFileAtomically } from "../files.ts";
import { readJson } from "./about.ts";
import type { Chart, Section } from "./section.ts";
import { sectionsHtml } from "./sections-html.ts";

export interface JobReport {
  /** Default: the job's name. */
  readonly title?: string;
  /** One or two sentences of introduction. Default: the job's summary. */
  readonly lead?: string;
  /** Shown before the curves: results, samples with the model's outputs. */
  readonly sections: readonly Section[];
  /** Shown last, such as image credits. */
  readonly closing?: readonly Section[];
  /** Reference levels for the charts of metrics.jsonl, such as { loss: [{ at: 4.85, label: "guessing" }] }. */
  readonly levels?: Readonly<Record<string, Chart["levels"] & {}>>;
}

export const jobReportFile = "report.json";

/**
 * Writes a job's report, replacing an earlier one. Throws UsageError for content that no page could show: an image that
 * is not a data URI, a link that is not https.
 */
export async function writeJobReport(folder: string, report: JobReport): Promise<void> {
  const text = JSON.stringify(report);
  if (!isJobReport(JSON.parse(text))) throw new UsageError("the job's report is not a list of valid sections");
  await writeFileAtomically(join(folder, jobReportFile), `${text}\n`);
}

/** Reads a job's report; undefined when there is none. Throws for a file that no page could show. */
export async function readJobReport(folder: string): Promise<JobReport | undefined> {
  const report = await readJson(folder, jobReportFile);
  if (report === undefined || isJobReport(report)) return report;
  throw new TypeError("it is not a job's report");
}

function isJobReport(value: unknown): value is JobReport {
  if (!isRecord(value)) return false;
  const { title, lead, sections, closing = [], levels: compared = {} } = value;
  if (![title, lead].every(optional(text)) || !isRecord(compared) || !Object.values(compared).every(levels))
    return false;
  return (
    [sections, closing].every((of) => Array.isArray(of) && of.every(isSection)) &&
    rendered(value as unknown as JobReport)
  );
}

/** The field checks cover a section's form; images and links are checked by rendering them. */
function rendered({ sections, closing = [] }: JobReport): boolean {
  sectionsHtml([...sections, ...closing]);
  return true;
}

type Check = (value: unknown) => boolean;

const text: Check = (value) => typeof value === "string";
const finite: Check = (value) => Number.isFinite(value);
// Marked, so that a bundle that writes no report does without the checks.
const optional =
  /* @__NO_SIDE_EFFECTS__ */
    (check: Check): Check =>
    (value) =>
      value === undefined || check(value);
const listOf =
  /* @__NO_SIDE_EFFECTS__ */
    (check: Check): Check =>
    (value) =>
      Array.isArray(value) && value.every(check);
const either =
  /* @__NO_SIDE_EFFECTS__ */
    (...checks: readonly Check[]): Check =>
    (value) =>
      checks.some((check) => check(value));
const fields =
  /* @__NO_SIDE_EFFECTS__ */
    (checks: Readonly<Record<string, Check>>): Check =>
    (value) =>
      isRecord(value) && Object.entries(checks).every(([name, check]) => check(value[name]));

const words = either(text, fields({ text, language: optional(text), link: optional(text) }));
const texts = either(words, listOf(words));
const mark: Check = (value) => value === "right" || value === "wrong" || value === "expected";
const cell = either(texts, finite, fields({ share: finite }), (value) => value === null);
/** Bounded so that sums and differences of two such numbers are finite. */
const drawable: Check = (value) => typeof value === "number" && Math.abs(value) <= 1e300;
const point: Check = (value) =>
  Array.isArray(value) && value.length === 2 && drawable(value[0]) && either(drawable, (y) => y === null)(value[1]);

const levels = listOf(fields({ at: drawable, label: text }));

const forms: { readonly [K in Section["kind"]]: Check } = {
  heading: fields({ text: texts }),
  paragraph: fields({ text: texts }),
  headline: fields({ value: text, text: texts, aside: optional(texts) }),
  facts: fields({ facts: listOf(fields({ label: text, value: texts, note: optional(texts) })) }),
  table: fields({
    head: listOf(texts),
    rows: listOf(listOf(cell)),
    foot: optional(listOf(cell)),
    caption: optional(texts),
  }),
  chart: fields({
    title: text,
    lines: listOf(fields({ name: text, points: listOf(point) })),
    levels: optional(levels),
    caption: optional(texts),
  }),
  cards: fields({
    cards: listOf(
      fields({
        title: optional(texts),
        pictures: optional(
          listOf(fields({ image: text, description: text, note: optional(text), mark: optional(mark) })),
        ),
        remarks: optional(listOf(fields({ label: optional(text), text: texts, mark: optional(mark) }))),
      }),
    ),
  }),
  list: fields({ items: listOf(texts) }),
};

const isSection: Check = (value) =>
  isRecord(value) &&
  typeof value.kind === "string" &&
  Object.hasOwn(forms, value.kind) &&
  forms[value.kind as Section["kind"]](value);
