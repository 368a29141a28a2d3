/** Runs in flight: submitted in order, with their metrics read in the same order a few steps later. */
import type { HostTensor } from "../../compiler/index.ts";
import type { IdleClock } from "./lost-time.ts";

export type Figures = Readonly<Record<string, number>>;
type Outputs = Readonly<Record<string, HostTensor>>;

/** In milliseconds of `performance.now()`: from when the device could begin a step until its results arrived. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

/** Handles a step's metrics. */
export type Landing = (figures: Figures, span: Span) => Promise<void>;

interface Run {
  readonly outputs: Promise<Outputs>;
  /** Only for the last run of a step. */
  readonly land: Landing | undefined;
  readonly submitted: number;
  ended: number;
}

export interface Flight {
  /** Adds a submitted run. */
  add(outputs: Promise<Outputs>, land?: Landing): void;
  /** Waits until at most `count` runs are in flight. Rejects with the error of the first that failed. */
  leave(count: number): Promise<void>;
  /** Waits for all runs, whether they succeed or fail. */
  settle(): Promise<void>;
}

export function startFlight(clock: IdleClock): Flight {
  const runs: Run[] = [];
  /** When the previous step ended, and when the first run of the current one was submitted. */
  let lastEnd = 0;
  let begun: number | undefined;
  const landed = async (run: Run): Promise<void> => {
    const outputs = await run.outputs;
    begun ??= run.submitted;
    if (!run.land) return;
    const span = { begin: Math.max(begun, lastEnd), end: run.ended };
    [lastEnd, begun] = [run.ended, undefined];
    await run.land(scalars(outputs), span);
  };
  return {
    add: (outputs, land) => {
      const run: Run = { outputs, land, submitted: performance.now(), ended: 0 };
      const end = () => {
        run.ended = performance.now();
        clock.ends();
      };
      clock.begins();
      outputs.then(end, end);
      runs.push(run);
    },
    leave: async (count) => {
      while (runs.length > count) await landed(runs.shift()!);
    },
    settle: async () => void (await Promise.allSettled(runs.splice(0).map((r) => r.outputs))),
  };
}

const scalars = (outputs: Outputs): Figures =>
  Object.fromEntries(Object.entries(outputs).flatMap(([k, t]) => (t.data.length === 1 ? [[k, t.data[0]!]] : [])));
