/** Logs the metrics of a run's steps, as JSON lines and for TensorBoard. */
import type { MetricsLog, MetricsRecord } from "../metrics-log.ts";
import type { EventLog } from "../tensorboard.ts";
import type { Figures } from "./flight.ts";

export interface FiguresLog {
  /**
   * Resolves when the previous record is written: steps do not wait for the disk, and an error surfaces one step later.
   */
  write(record: MetricsRecord, scalars: Figures): Promise<void>;
  /** Resolves when everything is on disk. */
  flush(): Promise<void>;
}

export function figuresLog(metrics: MetricsLog, events: EventLog): FiguresLog {
  let last: Promise<unknown> = Promise.resolve();
  return {
    write: async (record, scalars) => {
      await last;
      last = Promise.all([metrics.append(record), events.scalars(record.step, scalars)]);
      last.catch(() => {}); // thrown by the next write or flush
    },
    flush: async () => {
      await last;
      await metrics.flush();
      await events.flush();
    },
  };
}

/** For all ranks but the first. */
export const unlogged: FiguresLog = { write: async () => {}, flush: async () => {} };
