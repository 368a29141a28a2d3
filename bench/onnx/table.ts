/** Prints the measurements of a model's files: a table per dtype, and how far outputs differ. */
import { formatBytes } from "../../runtime/index.ts";
import { median } from "../statistics.ts";
import type { Measured, RunFigures } from "./measure-file.ts";
import type { Subject } from "./subjects.ts";

/** The compared quantities of a file; lower is better for all. */
const figuresOf = (
  subject: Subject,
): readonly (readonly [string, (r: RunFigures) => number, (x: number) => string])[] => [
  ["opened in", (r) => r.loadMs, ms],
  ...subject.phases.flatMap(
    ({ name }, i) =>
      [
        [`${name}, first`, (r: RunFigures) => r.phases[i]!.firstMs, ms],
        [name, (r: RunFigures) => r.phases[i]!.medianMs, ms],
      ] as const,
  ),
  ["most memory", (r) => r.peakBytes, formatBytes],
  ["size", (r) => r.fileBytes, formatBytes],
];

const ms = (x: number): string => (x < 100 ? `${x.toFixed(1)} ms` : `${Math.round(x)} ms`);

/** One row per file; each value of a peer is followed by its ratio to heddle's for the same dtype. */
export function table(subject: Subject, files: readonly Measured[]): string[] {
  const columns = figuresOf(subject);
  const value = (file: Measured, take: (r: RunFigures) => number) => median(file.rounds.map(take));
  const cells = files.map((file) => {
    const own = files.find((f) => f.peer === "heddle" && f.dtype === file.dtype);
    const shown = columns.map(([, take, text]) => {
      const x = value(file, take);
      return own && own !== file ? `${text(x)} (${(x / value(own, take)).toFixed(2)})` : text(x);
    });
    return [file.dtype, file.peer, ...shown];
  });
  const order = ["f32", "f16", "int8", "int4"];
  cells.sort((a, b) => order.indexOf(a[0]!) - order.indexOf(b[0]!));
  const rows = [["dtype", "written by", ...columns.map(([name]) => name)], ...cells];
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  return [line(rows[0]!), `| ${widths.map((w) => "-".repeat(w)).join(" | ")} |`, ...rows.slice(1).map(line)];
}

/** How far a file's outputs differ from those of an f32 file, and whether that is within tolerance. */
export interface Apart {
  readonly text: string;
  readonly isNear: boolean;
}

/**
 * Compares each file with the first other f32 file that has the same outputs; differences are relative to the largest
 * magnitude.
 */
export function farthest(subject: Subject, files: readonly Measured[]): Apart[] {
  const plain = files.filter((f) => f.dtype === "f32");
  return files.map((file) => {
    const apart = subject.phases.flatMap((_, phase) =>
      subject.outputs.flatMap((names) => {
        const have = valuesOf(file, phase, names)?.[0];
        const want = plain.filter((f) => f !== file).flatMap((f) => valuesOf(f, phase, names) ?? [])[0];
        return want && have ? [difference(want, have)] : [];
      }),
    );
    const label = `${file.peer}, ${file.dtype}: `;
    if (apart.length === 0) return { text: `${label}no file in f32 has its outputs`, isNear: false };
    const most = Math.max(...apart);
    const isNear = most <= (subject.tolerance[file.dtype] ?? Number.POSITIVE_INFINITY);
    const said = `outputs are ${most.toExponential(1)} of the largest from those in f32`;
    return { text: `${label}${said}${isNear ? "" : ", which is too far"}`, isNear };
  });
}

type Values = readonly number[];

function valuesOf(file: Measured, phase: number, names: readonly string[]): readonly [Values] | undefined {
  const { ends } = file.rounds[0]!.phases[phase]!;
  const name = names.find((output) => ends[output]);
  return name === undefined ? undefined : [ends[name]!];
}

function difference(want: Values, have: Values): number {
  const largest = want.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return want.reduce((most, x, i) => Math.max(most, Math.abs(x - have[i]!)), 0) / largest;
}
