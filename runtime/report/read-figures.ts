/** Streams the metrics of a run of any length into curves; a damaged line loses only itself. */
import { fileSystem } from "#host";
import { isRecord } from "../cached-file.ts";
import { explainingFaults } from "../file-errors.ts";
import { isThere } from "../files.ts";
import { readLines } from "../metrics-log.ts";
import { type Curve, type CurveBuilder, curveBuilder } from "./curve.ts";

export interface Figures {
  /** By metric name, in order of first occurrence. */
  readonly curves: ReadonlyMap<string, Curve>;
  /** The last logged step; 0 if none. */
  readonly steps: number;
  /** Lines that are not records of a step, not counting a torn last line left by a killed process. */
  readonly damaged: number;
  /** The number of metrics left out because there are too many. */
  readonly leftOut: number;
}

const mostCurves = 64;
const mostNames = 10_000; // bounds memory for a file in which each line has new names

/** The metrics in metrics.jsonl; none if the file does not exist. */
export const readFigures = (path: string): Promise<Figures> => explainingFaults("read", path, () => read(path));

async function read(path: string): Promise<Figures> {
  const builders = new Map<string, CurveBuilder>();
  const leftOut = new Set<string>();
  let [steps, damaged] = [0, 0];
  for await (const record of records(path)) {
    if (!isStep(record?.step)) {
      damaged += 1;
      continue;
    }
    const { step, ...figures } = record as { readonly step: number };
    steps = Math.max(steps, step);
    for (const [name, value] of Object.entries(figures)) {
      const figure = figureOf(value);
      if (figure === undefined) continue;
      if (!builders.has(name) && builders.size < mostCurves) builders.set(name, curveBuilder(0, 1));
      const builder = builders.get(name);
      if (builder) builder.add(step, figure);
      else if (leftOut.size < mostNames) leftOut.add(name);
    }
  }
  const curves = new Map([...builders].map(([name, builder]) => [name, builder.curve()]));
  return { curves, steps, damaged, leftOut: leftOut.size };
}

const isStep = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0;

/** The records in a file's complete lines; undefined for a line that is not a record. */
async function* records(path: string): AsyncGenerator<Readonly<Record<string, unknown>> | undefined> {
  if (!(await isThere(path))) return;
  for await (const { text } of readLines(fileSystem, path)) yield parsed(text);
}

function parsed(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** How the log writes numbers that JSON lacks. */
const notFinite = new Set(["NaN", "Infinity", "-Infinity"]);

function figureOf(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  return typeof value === "string" && notFinite.has(value) ? Number.NaN : undefined;
}
