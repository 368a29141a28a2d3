/** How much of the processor other programs take while something is measured. */
import { cpus } from "node:os";

interface Processor {
  readonly busy: number;
  readonly all: number;
  /** This process's part of `busy`, all threads. */
  readonly own: number;
}

/** Milliseconds of all cores so far. */
function read(): Processor {
  const sum = (take: (times: ReturnType<typeof cpus>[number]["times"]) => number) =>
    cpus().reduce((ms, { times }) => ms + take(times), 0);
  const busy = sum((t) => t.user + t.nice + t.sys + t.irq);
  const { user, system } = process.cpuUsage();
  return { busy, all: busy + sum((t) => t.idle), own: (user + system) / 1000 };
}

/** Starts watching; the answer is the share, 0 to 1, that others took of all cores since. */
export function watchOthers(): () => number {
  const before = read();
  return () => {
    const now = read();
    const others = now.busy - before.busy - (now.own - before.own);
    return Math.min(1, Math.max(0, others / Math.max(1, now.all - before.all)));
  };
}
