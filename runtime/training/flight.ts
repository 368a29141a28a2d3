/** Runs that are under way: submitted in order, and their figures read in that order a few steps late. */
import type { HostTensor } from "../../compiler/index.ts";
import type { IdleClock } from "./lost-time.ts";

export type Figures = Readonly<Record<string, number>>;
type Outputs = Readonly<Record<string, HostTensor>>;

/** Milliseconds of `performance.now()`: from when a device could begin with a step until its results were there. */
export interface Span {
  readonly begin: number;
  readonly end: number;
}

/** What is done with a step's figures. */
export type Landing = (figures: Figures, span: Span) => Promise<void>;

interface Run {
  readonly outputs: Promise<Outputs>;
  /** Of the run that ends a step. */
  readonly land: Landing | undefined;
  readonly submitted: number;
  ended: number;
}

export interface Flight {
  /** Takes a run that was submitted. */
  add(outputs: Promise<Outputs>, land?: Landing): void;
  /** Waits until at most so many runs are under way. Throws what the first of them that failed did. */
  leave(count: number): Promise<void>;
  /** Waits for all runs, however they end. */
  settle(): Promise<void>;
}

export function startFlight(clock: IdleClock): Flight {
  const runs: Run[] = [];
  /** When the step before ended, and when the first run of this one was submitted. */
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
