/** Measures the CPU load of other programs during a measurement. */
import { cpus } from "node:os";

interface Processor {
  readonly busy: number;
  readonly all: number;
  /** This process's share of `busy`, over all threads. */
  readonly own: number;
}

/** Milliseconds over all cores so far. */
function read(): Processor {
  const sum = (take: (times: ReturnType<typeof cpus>[number]["times"]) => number) =>
    cpus().reduce((ms, { times }) => ms + take(times), 0);
  const busy = sum((t) => t.user + t.nice + t.sys + t.irq);
  const { user, system } = process.cpuUsage();
  return { busy, all: busy + sum((t) => t.idle), own: (user + system) / 1000 };
}

/** Starts watching; the returned function gives the share of all cores, 0 to 1, that other programs have used since. */
export function watchOthers(): () => number {
  const before = read();
  return () => {
    const now = read();
    const others = now.busy - before.busy - (now.own - before.own);
    return Math.min(1, Math.max(0, others / Math.max(1, now.all - before.all)));
  };
}
