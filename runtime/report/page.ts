/**
 * The page of a run's report: its results, its learning curves, what was run. A single file, without scripts or
 * external resources.
 */
import { type Html, html, shown, trusted } from "../../compiler/index.ts";
import { isRecord } from "../cached-file.ts";
import { formatDuration } from "../progress/progress-text.ts";
import type { Settings } from "../training/run-settings.ts";
import type { RunSource } from "../training/sources-file.ts";
import type { RunAbout, RunStart } from "./about.ts";
import { curveChart, type NamedCurve } from "./chart.ts";
import type { Curve } from "./curve.ts";
import type { JobReport } from "./job-report.ts";
import type { Figures } from "./read-figures.ts";
import type { Fact, Section, Table } from "./section.ts";
import { factsHtml, sectionsHtml } from "./sections-html.ts";
import { reportStyle } from "./style.ts";

/** The content of a run's folder; undefined parts were never written, or are damaged. */
export interface PageContent {
  readonly name: string;
  readonly about: RunAbout | undefined;
  readonly settings: Settings | undefined;
  readonly sources: readonly RunSource[] | undefined;
  /** The job's own report. */
  readonly said: JobReport | undefined;
  readonly summary: Readonly<Record<string, unknown>> | undefined;
  /** The job's data statistics when the newest checkpoint was saved. */
  readonly told: Readonly<Record<string, unknown>> | undefined;
  readonly figures: Figures | undefined;
  readonly parts: readonly PageContent[];
  readonly faults: readonly string[];
}

export function reportPage(run: PageContent): string {
  return framed({
    title: run.said?.title ?? run.about?.job ?? run.name,
    lead: run.said?.lead ?? run.about?.summary,
    state: stateOf(run),
    main: html`${run.said && sectionsHtml(run.said.sections)}
${run.figures && learning("How it learned", run.figures, run.said?.levels)}
${run.parts.map(partHtml)}
${whatWasRun(run)}
${results(run)}
${faults(run)}`,
    footer: run.said?.closing && html`<footer>${sectionsHtml(run.said.closing)}</footer>`,
  });
}

/** A page of sections that does not belong to a run. */
export const sectionsPage = (
  page: Omit<Frame, "main" | "footer"> & { readonly sections: readonly Section[] },
): string => framed({ ...page, main: sectionsHtml(page.sections) });

interface Frame {
  readonly title: string;
  readonly lead?: string | undefined;
  /** A line below the lead: the current state. */
  readonly state: string;
  readonly main: Html;
  readonly footer?: Html | undefined;
}

const framed = ({ title, lead, state, main, footer }: Frame): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="heddle">
<title>${title}</title>
<style>${trusted(reportStyle())}</style>
</head>
<body>
<header>
  <div class="weave" aria-hidden="true"></div>
  <h1 dir="auto">${title}</h1>
  ${lead === undefined ? undefined : html`<p class="lead" dir="auto">${lead}</p>`}
  <p class="muted">${state}</p>
</header>
<main>
${main}
</main>
${footer}
</body>
</html>
`.html;

/** A stage of the run. */
function partHtml({ name, said, figures }: PageContent): Html {
  return html`${said && sectionsHtml(said.sections)}${figures && learning(`How it learned: ${said?.title ?? name}`, figures, said?.levels)}`;
}

/** "Finished after 1,200 of 1,200 steps." */
function stateOf({ about, summary, figures }: PageContent): string {
  const done = figures?.steps ?? 0;
  const steps = `${done.toLocaleString("en")}${about ? ` of ${about.steps.toLocaleString("en")}` : ""} steps`;
  const ended = about?.starts.at(-1)?.ended?.how ?? (about ? undefined : summary && "finished");
  if (ended !== undefined) return `${ended[0]!.toUpperCase()}${ended.slice(1)}, after ${steps}.`;
  return `${steps} when this page was made. Either the run is still going, or it ended unexpectedly.`;
}

const validationPrefix = "validation/";

/** The loss in a large chart, the other metrics below it; validation is drawn in the same chart as training. */
function learning(heading: string, { curves, damaged, leftOut }: Figures, levels: JobReport["levels"] = {}): Html {
  const named = (name: string): readonly NamedCurve[] => {
    const curve = curves.get(name);
    return curve ? [{ name, curve }] : [];
  };
  const trained = [...curves.keys()].filter(
    (name) => !(name.startsWith(validationPrefix) && curves.has(name.slice(validationPrefix.length))),
  );
  const charts = trained.map((title) => ({
    title,
    levels: Object.hasOwn(levels, title) ? levels[title]! : [],
    curves: [...named(title), ...(title.startsWith(validationPrefix) ? [] : named(`${validationPrefix}${title}`))],
  }));
  const isLoss = ({ title }: { readonly title: string }) => title === "loss";
  const notes = [
    ...(damaged > 0 ? [`${damaged.toLocaleString("en")} lines of metrics.jsonl are not records of a step.`] : []),
    ...(leftOut > 0 ? [`${leftOut.toLocaleString("en")} more metrics are not plotted.`] : []),
  ];
  return html`
<section>
<h2>${heading}</h2>
${charts.length === 0 ? html`<p class="muted">No step was logged.</p>` : undefined}
${charts.filter(isLoss).map(curveChart)}
<div class="charts">${charts.filter((chart) => !isLoss(chart)).map(curveChart)}</div>
${notes.map((note) => html`<p class="muted">${note}</p>`)}
</section>`;
}

function whatWasRun({ about, settings, sources = [], figures, summary }: PageContent): Html | undefined {
  const settingFacts = Object.entries(settings ?? {}).map(
    ([label, value]): Fact => ({
      label,
      value: settingText(String(value)),
    }),
  );
  const seconds = secondsOf(figures?.curves.get("seconds"), summary);
  const facts: readonly Fact[] = [
    ...(about ? [{ label: "Seed", value: String(about.seed) }, ...about.facts] : []),
    ...(seconds === undefined ? [] : [{ label: "Time of training", value: formatDuration(seconds) }]),
    ...sources.map(({ path, fingerprint }): Fact => ({ label: "Began from", value: path, note: fingerprint })),
  ];
  if (facts.length + settingFacts.length === 0) return undefined;
  return html`
<section>
<h2>What was run</h2>
${about?.starts.map(startHtml)}
${facts.length > 0 ? factsHtml(facts) : undefined}
${settingFacts.length > 0 ? html`<h2>Settings</h2>${factsHtml(settingFacts)}` : undefined}
</section>`;
}

/** Settings that hold a file's content are not shown. */
const mostShown = 2000;

/** An empty string is how a setting says "none". */
const settingText = (value: string): string =>
  value.length > mostShown ? `${value.length} characters, in run.json` : value || "none";

function secondsOf(curve: Curve | undefined, summary: PageContent["summary"]): number | undefined {
  if (typeof summary?.seconds === "number") return summary.seconds;
  if (!curve || curve.columns.length === 0) return undefined;
  return (curve.columns.reduce((sum, { y }) => sum + y, 0) / curve.columns.length) * curve.points;
}

function startHtml({ at, command, versions, device, deviceReason, ended }: RunStart): Html {
  const facts: readonly Fact[] = [
    { label: "Began", value: when(at), ...(ended && { note: `${ended.how}, ${when(ended.at)}` }) },
    { label: "Device", value: device, note: deviceReason },
    {
      label: "Versions",
      value: Object.entries(versions)
        .flatMap(([name, version]) => (version === null ? [] : [`${name} ${version}`]))
        .join(", "),
    },
  ];
  return html`<p><code>${command.map(shellWord).join(" ")}</code></p>${factsHtml(facts)}`;
}

/** A word, quoted for a shell if needed. */
const shellWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;

/** "2026-11-28 17:11 UTC"; an invalid time is shown as it is. */
const when = (time: string): string => {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : `${date.toISOString().slice(0, 16).replace("T", " ")} UTC`;
};

/** Entries that the page shows elsewhere. */
const saidElsewhere = new Set(["device", "versions", "config", "steps", "seconds", "loss", "skipped"]);

const mostResults = 200;
const deepest = 8;

/** The run's results, from summary.json: skipped samples, and everything that the job measured. */
function results({ summary, told, said }: PageContent): Html | undefined {
  const { skipped, changed } = { ...told, ...summary };
  const found = leaves(Object.fromEntries(Object.entries(summary ?? {}).filter(([name]) => !saidElsewhere.has(name))));
  const more = found.length - mostResults;
  return html`${titledTable("Samples that were skipped", ["reason", "samples", "example"], skippedRows(skipped))}
${summary ? undefined : titledTable("Samples that were changed", ["how", "samples", ""], skippedRows(changed))}
${found.length > 0 ? foldedTable(found.slice(0, mostResults), said === undefined) : undefined}
${more > 0 ? html`<p class="muted">${more.toLocaleString("en")} more are in summary.json.</p>` : undefined}`;
}

/** Open if the job has no report of its own. */
const foldedTable = (rows: Table["rows"], isOpen: boolean): Html => html`
<details${isOpen ? html` open` : undefined}>
<summary><h2>All figures of summary.json</h2></summary>${sectionsHtml([{ kind: "table", head: ["figure", "value"], rows }])}
</details>`;

/** By reason: a count, or { count, example }. */
function skippedRows(skipped: unknown): Table["rows"] {
  if (!isRecord(skipped)) return [];
  return Object.entries(skipped).map(([reason, how]) => {
    const { count, example } = isRecord(how) ? how : { count: how, example: undefined };
    return [reason, typeof count === "number" ? count : shown(count), typeof example === "string" ? example : ""];
  });
}

function titledTable(heading: string, head: Table["head"], rows: Table["rows"]): Html | undefined {
  if (rows.length === 0) return undefined;
  return html`
<section>
<h2>${heading}</h2>${sectionsHtml([{ kind: "table", head, rows }])}
</section>`;
}

/** The numbers and strings in a JSON value, each with the path of names that leads to it. */
function leaves(value: unknown, path: readonly string[] = []): readonly (readonly [string, string | number])[] {
  if (typeof value === "number") return [[path.join(" · "), value]];
  if (typeof value === "object" && value !== null)
    return path.length < deepest
      ? Object.entries(value).flatMap(([name, inner]) => leaves(inner, [...path, name]))
      : [[path.join(" · "), "…"]];
  return value === null || value === undefined ? [] : [[path.join(" · "), String(value)]];
}

function faults({ faults, parts }: PageContent): Html | undefined {
  const all = [...faults, ...parts.flatMap((part) => part.faults.map((fault) => `${part.name}/${fault}`))];
  return all.length === 0 ? undefined : html`${all.map((fault) => html`<p class="warning">${fault}</p>`)}`;
}
