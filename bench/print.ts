/** Prints a report as text: the environment, and a table per case. */
import { basename } from "node:path";
import type { CaseReport, Failure, Figures, Report } from "./report.ts";
import type { Spread } from "./statistics.ts";
import type { KernelFigures } from "./subject.ts";

export const printReport = (report: Report): string =>
  [printHeader(report), ...report.cases.map(printCase)].map((text) => `${text}\n`).join("\n");

function printHeader({ environment: e, device, rounds }: Report): string {
  const rows = [
    [
      "device",
      device ? `${device.description} [${device.graphics}]${device.software ? ", a software adapter" : ""}` : "none",
    ],
    ["drivers", device?.drivers.map((path) => basename(path)).join(", ") || "not listed by this system"],
    ["Dawn flags", device?.dawnFlags.join(" ") || "none"],
    [
      "processor",
      `${e.processor}, ${e.cores} cores, ${Math.round(e.memoryBytes / 1e9)} GB; load before: ${e.loadBefore.toFixed(2)}`,
    ],
    ["system", `${e.system}, ${e.date}`],
    ["versions", pairs(e.versions, " ")],
    ["variables", pairs(e.variables, "=")],
    [
      "method",
      `${rounds} rounds; in each, every contender in turn in a fresh process; peers on heddle's device settings`,
    ],
    ["", "and waiting as heddle waits; onnxruntime brings its own Dawn and is held to the same driver"],
  ];
  return rows.map(([label, text]) => `${label!.padEnd(12)}${text}`).join("\n");
}

const pairs = (record: Readonly<Record<string, string>>, between: string): string =>
  Object.entries(record)
    .map(([key, value]) => `${key}${between}${value}`)
    .join(", ");

function printCase({ name, summary, flops, finding, contenders, kernels }: CaseReport): string {
  const measured = contenders.filter((c): c is Figures => !("failure" in c));
  const failed = contenders.filter((c): c is Failure => "failure" in c);
  const parts = [
    `${name}: ${summary}${flops === undefined ? "" : ` (${(flops / 1e9).toFixed(3)} GFLOP)`}`,
    ...(measured.length > 0 ? [printColumns([headings, ...measured.map(cells)])] : []),
    ...disturbance(measured),
    ...failed.map((f) => `  ${f.contender}: no figures, ${f.failure}`),
    ...(finding ? [`  ${finding}`] : []),
    ...(kernels ? [printKernels(kernels)] : []),
  ];
  return parts.join("\n");
}

/** Above this load, wall times reflect other programs as much as the contender. */
const quiet = 0.05;

function disturbance(measured: readonly Figures[]): string[] {
  const most = Math.max(0, ...measured.map((f) => f.otherLoad));
  if (most <= quiet) return [];
  return [
    `  DISTURBED: other programs took up to ${percent(most)} of all cores; only processor time (cpu ms) can be compared`,
  ];
}

const headings = [
  "contender",
  "median ms",
  "p25-p75",
  "x heddle",
  "p25-p75",
  "cpu ms",
  "others",
  "GFLOP/s",
  "first run s",
  "process s",
  "peak RSS MB",
  "dispatches",
  "submits",
  "buffers",
  "pipelines",
  "difference",
  "runs",
];

function cells(f: Figures): string[] {
  return [
    f.contender,
    milliseconds(f.wallMs.median),
    range(f.wallMs, milliseconds),
    f.timesHeddle.median.toFixed(2),
    range(f.timesHeddle, (n) => n.toFixed(2)),
    milliseconds(f.cpuMs.median),
    percent(f.otherLoad),
    f.gflopsPerSecond?.toFixed(2) ?? "-",
    (f.firstRunMs / 1000).toFixed(2),
    (f.processMs / 1000).toFixed(2),
    String(Math.round(f.peakRssBytes / 1e6)),
    String(f.calls?.dispatches ?? "-"),
    String(f.calls?.submissions ?? "-"),
    String(f.calls?.buffers ?? "-"),
    String(f.pipelines ?? "-"),
    f.difference === 0 ? "0" : f.difference.toExponential(1),
    String(f.repetitions),
  ];
}

const percent = (share: number): string => `${Math.round(100 * share)}%`;
const milliseconds = (ms: number): string => ms.toFixed(ms < 100 ? 1 : 0);
const range = ({ low, high }: Spread, print: (n: number) => string): string => `${print(low)}-${print(high)}`;

/** Text columns are left-aligned, numbers right-aligned; the first column is text, and the last may be. */
function printColumns(rows: readonly (readonly string[])[], lastIsWords = false): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const last = lastIsWords ? widths.length - 1 : 0;
  const pad = (cell: string, i: number) =>
    i === 0 || i === last ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!);
  return rows.map((row) => `  ${row.map(pad).join("  ").trimEnd()}`).join("\n");
}

/** Rows shown; the remaining kernels are summed up in one line. */
const shown = 15;

/** Kernels of the same kind and shapes, as in the repeated blocks of a model. */
interface KernelGroup {
  readonly first: KernelFigures;
  readonly count: number;
  readonly nanoseconds: number;
}

function groupKernels(kernels: readonly KernelFigures[]): KernelGroup[] {
  const types = (k: KernelFigures) => `${k.writes.join(" ")} <- ${k.reads.join(" ")}`;
  const groups = Map.groupBy(kernels, (k) => [withoutLayer(k.name), types(k)].join());
  return [...groups.values()]
    .map((same) => ({ first: same[0]!, count: same.length, nanoseconds: total(same) }))
    .sort((a, b) => b.nanoseconds - a.nanoseconds);
}

/** "blocks.3.mlp.fc1/contract" with the block number replaced. */
const withoutLayer = (name: string): string => name.replace(/\.\d+\./g, ".*.");

const total = (list: readonly { readonly nanoseconds: number }[]): number =>
  list.reduce((n, k) => n + k.nanoseconds, 0);

/** heddle's kernels, each timed separately, with those of the same name and shapes grouped. */
function printKernels(kernels: readonly KernelFigures[]): string {
  const groups = groupKernels(kernels);
  const rows = groups
    .slice(0, shown)
    .map(({ first, count, nanoseconds }) => [
      withoutLayer(first.name),
      first.kind,
      String(count),
      milliseconds(nanoseconds / 1e6),
      percent(nanoseconds / total(kernels)),
      first.flops === 0 ? "-" : ((first.flops * count) / nanoseconds).toFixed(2),
      ((first.bytes * count) / nanoseconds).toFixed(2),
      `${first.writes.join(" ")} <- ${first.reads.join(" ")}`,
    ]);
  const rest = groups.slice(shown);
  return [
    `  heddle's ${kernels.length} kernels, each timed alone: ${milliseconds(total(kernels) / 1e6)} ms`,
    printColumns([kernelHeadings, ...rows], true),
    ...(rest.length > 0 ? [`  ${rest.length} more rows: ${milliseconds(total(rest) / 1e6)} ms`] : []),
  ].join("\n");
}

const kernelHeadings = ["kernel", "kind", "count", "ms", "share", "GFLOP/s", "GB/s", "writes <- reads"];
