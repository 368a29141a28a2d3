/** Prints the marks as a table. */
import type { Asked, Outcome } from "./mark.ts";
import type { PeerFigure } from "./torch.ts";

export interface Row {
  readonly mark: string;
  readonly asked: Asked;
  readonly outcome: Outcome;
  /** PyTorch's result, or why it failed; undefined if it was not run. */
  readonly peer?: PeerFigure | { readonly failure: string };
  /** The sample's difference from PyTorch's, relative to the largest magnitude. */
  readonly difference?: number;
}

/** Whether the results agree with PyTorch's, as far as there are any. */
export const agrees = ({ outcome, difference }: Row): boolean =>
  "skipped" in outcome || difference === undefined || difference <= (outcome.tolerance ?? 0);

/** Higher is better for rates and ratios, lower for times. */
const reached = (value: number, asked: number | undefined, { unit }: Asked): boolean | undefined =>
  asked === undefined ? undefined : unit === "TFLOP/s" || unit === "x" ? value >= asked : value <= asked;

export const figure = (value: number): string =>
  Number(value.toPrecision(value >= 1000 ? 4 : 3)).toLocaleString("en-US", { maximumSignificantDigits: 6 });

/** PyTorch's result, if there is one. */
const theirsOf = ({ peer }: Row): PeerFigure | undefined => (peer && !("failure" in peer) ? peer : undefined);

/** heddle's speed relative to PyTorch's. */
function ratioOf(row: Row): number | undefined {
  const theirs = theirsOf(row);
  if (!theirs || "skipped" in row.outcome) return undefined;
  const { value } = row.outcome;
  return row.asked.unit === "TFLOP/s" ? value / theirs.value : theirs.value / value;
}

function verdictOf(row: Row, value: number): string {
  const { asked } = row;
  const ratio = ratioOf(row);
  if (asked.ofPeer && ratio === undefined) return "-";
  const met = (n: number | undefined) => (asked.ofPeer ? n !== undefined && ratio! >= n : reached(value, n, asked));
  return met(asked.goal) ? "goal" : met(asked.first) ? "first" : "below";
}

function cells(row: Row, isAsked: boolean): string[] {
  const { mark, asked, outcome, peer, difference } = row;
  const target = (n: number | undefined) =>
    n === undefined || !isAsked ? "-" : asked.ofPeer ? `${n} of it` : figure(n);
  const targets = [target(asked.first), target(asked.goal)];
  if ("skipped" in outcome) return [mark, "-", asked.unit, ...targets, "-", "-", "-", "-", outcome.skipped];
  const { value, note = "" } = outcome;
  const verdict = isAsked ? verdictOf(row, value) : "-";
  const [theirs, ratio] = [theirsOf(row), ratioOf(row)];
  const trouble = agrees(row) ? "" : "ITS RESULTS ARE NOT PYTORCH'S, so the figure does not count";
  const failed = peer && "failure" in peer ? `PyTorch: ${peer.failure}` : "";
  return [
    mark,
    figure(value),
    asked.unit,
    ...targets,
    verdict,
    theirs ? figure(theirs.value) : "-",
    ratio ? ratio.toFixed(2) : "-",
    difference === undefined ? "-" : difference.toExponential(1),
    [trouble, note, failed].filter((t) => t !== "").join("; "),
  ];
}

const head = ["mark", "heddle", "unit", "first mark", "goal", "reached", "PyTorch", "of it", "difference", "note"];

/** Text columns are left-aligned, numbers right-aligned. */
export function printTable(rows: readonly Row[], isAsked: boolean): string {
  const all = [head, ...rows.map((row) => cells(row, isAsked))];
  const widths = head.map((_, i) => Math.max(...all.map((r) => r[i]!.length)));
  const words = new Set([0, 2, 5, head.length - 1]);
  const pad = (cell: string, i: number) => (words.has(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!));
  return all.map((r) => r.map(pad).join("  ").trimEnd()).join("\n");
}
