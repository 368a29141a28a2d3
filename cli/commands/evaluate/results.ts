/** The output of an evaluation: JSON for programs, a table and a page for people. */
import { join } from "node:path";
import { escapeControls, type Section, sectionsPage, writeFileAtomically } from "../../../runtime/index.ts";
import { digits, json, table } from "../../output.ts";
import { reasons } from "../data.ts";
import type { EvaluateOptions, Outcome, Results } from "./options.ts";

export type Evaluation = Outcome &
  Pick<EvaluateOptions, "protocol" | "data" | "weights"> & {
    readonly model: string;
  };

/** The JSON of `--json` and of evaluation.json. */
const forPrograms = ({ protocol, model, weights, data, samples, asked = {}, results, skipped }: Evaluation) => ({
  protocol,
  ...{ model, weights, data, samples, asked, results, skipped },
});

export function printEvaluation(evaluation: Evaluation, asJson: boolean): string {
  if (asJson) return `${json(forPrograms(evaluation))}\n`;
  const { protocol, model, samples, skipped, results } = evaluation;
  const parts = [
    table([
      ["protocol", protocol],
      ["model", model],
      ["samples", digits(samples)],
    ]),
    resultTable(results),
    reasons("broken", skipped),
  ];
  return escapeControls(`${parts.filter((part) => part !== "").join("\n")}\n`);
}

/** Writes evaluation.json, report.html and, if there are answers, answers.jsonl to a folder. */
export async function writeEvaluation(folder: string, evaluation: Evaluation): Promise<void> {
  await writeFileAtomically(join(folder, "evaluation.json"), `${json(forPrograms(evaluation))}\n`);
  await writeFileAtomically(join(folder, "report.html"), pageOf(evaluation));
  const { answers } = evaluation;
  if (answers)
    await writeFileAtomically(join(folder, "answers.jsonl"), answers.map((one) => `${JSON.stringify(one)}\n`).join(""));
}

interface Row {
  readonly name: string;
  readonly figures: Readonly<Record<string, number>>;
}

/** Flattens groups to rows, named by their path. */
function rowsOf(results: Results, path: readonly string[] = []): readonly Row[] {
  const own = Object.entries(results).filter((entry): entry is [string, number] => typeof entry[1] === "number");
  const inner = Object.entries(results).flatMap(([name, value]) =>
    typeof value === "number" ? [] : rowsOf(value, [...path, name]),
  );
  const row = { name: path.join(", ") || "all", figures: Object.fromEntries(own) };
  return [...(own.length > 0 ? [row] : []), ...inner];
}

/** Fractions are shown in per cent; these metrics are absolute, as in their papers. */
const points: readonly string[] = ["score", "subtasks", "perplexity", "loss", "bitsPerByte", "tokens"];
const shown = (name: string, value: number): string =>
  Number.isInteger(value) && points.includes(name)
    ? digits(value)
    : (points.includes(name) ? value : 100 * value).toFixed(2);

const columnsOf = (rows: readonly Row[]): readonly string[] => [
  ...new Set(rows.flatMap(({ figures }) => Object.keys(figures))),
];

function resultTable(results: Results): string {
  const rows = rowsOf(results);
  const columns = columnsOf(rows);
  const cells = [
    ["", ...columns],
    ...rows.map(({ name, figures }) => [
      name,
      ...columns.map((column) => (figures[column] === undefined ? "" : shown(column, figures[column]))),
    ]),
  ];
  const widths = cells[0]!.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join("  ");
  return cells.map((row) => `  ${line(row)}`.trimEnd()).join("\n");
}

function pageOf({ protocol, model, weights, data, samples, asked = {}, results, skipped, sections = [] }: Evaluation) {
  const rows = rowsOf(results);
  const columns = columnsOf(rows);
  const figures: Section = {
    kind: "table",
    head: ["", ...columns],
    rows: rows.map(({ name, figures }) => [
      name,
      ...columns.map((column) => {
        const value = figures[column];
        if (value === undefined) return null;
        return points.includes(column) ? value : { share: value };
      }),
    ]),
  };
  const facts: Section = {
    kind: "facts",
    facts: [
      { label: "Weights", value: weights },
      { label: "Data", value: data.join(", ") },
      { label: "Samples", value: digits(samples) },
      ...Object.entries(asked).map(([label, value]) => ({ label, value: String(value) })),
    ],
  };
  const broken: readonly Section[] =
    skipped.length === 0
      ? []
      : [
          { kind: "heading", text: "Skipped samples" },
          {
            kind: "table",
            head: ["reason", "samples", "example"],
            rows: skipped.map(({ reason, count, example }) => [reason, count, example]),
          },
        ];
  return sectionsPage({
    title: `${model}: ${protocol}`,
    state: `Evaluated on ${digits(samples)} samples.`,
    sections: [figures, facts, ...sections, ...broken],
  });
}
