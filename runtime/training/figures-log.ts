/** The figures of a run's steps, as JSON lines and for TensorBoard. */
import type { MetricsLog, MetricsRecord } from "../metrics-log.ts";
import type { EventLog } from "../tensorboard.ts";
import type { Figures } from "./flight.ts";

export interface FiguresLog {
  /** Resolves when what was given before it is written: the disk is not waited for while steps run, and a fault shows a step later. */
  write(record: MetricsRecord, scalars: Figures): Promise<void>;
  /** Resolves when the disk has all of it. */
  flush(): Promise<void>;
}

export function figuresLog(metrics: MetricsLog, events: EventLog): FiguresLog {
  let last: Promise<unknown> = Promise.resolve();
  return {
    write: async (record, scalars) => {
      await last;
      last = Promise.all([metrics.append(record), events.scalars(record.step, scalars)]);
      last.catch(() => {}); // the next write or flush throws it
    },
    flush: async () => {
      await last;
      await metrics.flush();
      await events.flush();
    },
  };
}

/** Of a rank that is not the first. */
export const unlogged: FiguresLog = { write: async () => {}, flush: async () => {} };
