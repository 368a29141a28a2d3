/** External interruption of a command: Ctrl-C, a termination request, a closed terminal or pipe. */
import { rmSync } from "node:fs";
import { HeddleError } from "../compiler/index.ts";
import { watchTemporaries } from "../runtime/index.ts";

/** Exit statuses by convention: 128 + the signal's number. */
const statuses = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
const ofClosedPipe = 141; // 128 + SIGPIPE

const signals = Object.keys(statuses) as (keyof typeof statuses)[];

/**
 * Milliseconds within which signals count as one: a hangup comes both from the terminal and from the parent process,
 * and a supervisor signals every process of a group.
 */
const oneRequestMs = 500;

/** Work aborted by a signal, with a message and the signal's exit status. */
export class InterruptedError extends HeddleError {
  readonly status: number;
  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** Aborts when the command is interrupted, and gives the exit status. */
export interface Ending {
  readonly signal: AbortSignal;
  readonly status: () => number;
  /** Asks for the end with this exit status, as a signal does. */
  readonly ask: (status: number) => void;
  readonly dispose: () => void;
}

/**
 * Listens for signals: the first aborts and calls `asked`, the second ends the process. With `alsoPipes` a closed
 * stdout or stderr is handled the same way, where it would otherwise end the process at once.
 */
export function listenForEnding(asked: () => void = () => {}, { alsoPipes = false } = {}): Ending {
  const controller = new AbortController();
  let status = 0;
  let askedAt = 0;
  const ask = (asksFor: number) => {
    status = asksFor;
    controller.abort();
  };
  const onSignal = (name: NodeJS.Signals) => {
    const asksFor = statuses[name as keyof typeof statuses];
    if (controller.signal.aborted && status !== ofClosedPipe) {
      if (performance.now() - askedAt > oneRequestMs) process.exit(asksFor);
      return;
    }
    askedAt = performance.now();
    ask(asksFor);
    asked();
  };
  // A closed stream fails again at each write; and without a reader nothing can be reported.
  const onClosed = () => {
    if (!controller.signal.aborted) ask(ofClosedPipe);
  };
  const streams = alsoPipes ? [process.stdout, process.stderr] : [];
  for (const name of signals) process.on(name, onSignal);
  for (const stream of streams) stream.on("error", onClosed);
  return {
    signal: controller.signal,
    status: () => status,
    ask,
    dispose: () => {
      for (const name of signals) process.off(name, onSignal);
      for (const stream of streams) stream.off("error", onClosed);
    },
  };
}

/**
 * Runs `body`; what is thrown meanwhile where nobody waits for it, such as from a user's timer, is reported at once and
 * ends the work as a signal does, so that it is saved. A second such error ends the process.
 */
export async function savingOnFaults<T>(
  ending: Ending,
  report: (fault: unknown) => number,
  body: () => Promise<T>,
): Promise<T> {
  const onFault = (fault: unknown) => {
    const status = report(fault);
    if (ending.signal.aborted) process.exit(status);
    ending.ask(status);
  };
  const events = ["uncaughtException", "unhandledRejection"] as const;
  for (const event of events) process.on(event, onFault);
  try {
    return await body();
  } finally {
    for (const event of events) process.off(event, onFault);
  }
}

/** Runs `body`, whose signal aborts on interruption; returns the exit status. */
export async function untilInterrupted(body: (signal: AbortSignal) => Promise<void>): Promise<number> {
  const ending = listenForEnding();
  try {
    await body(ending.signal);
    return ending.status();
  } finally {
    ending.dispose();
  }
}

/**
 * Removes temporary files when a signal ends a command that does not listen for signals itself. Only while there are
 * any: a listener would keep a signal from ending a long computation at once.
 */
export function leaveNoTemporaries(): { readonly dispose: () => void } {
  let left: ReadonlySet<string> = new Set();
  const onSignal = (name: NodeJS.Signals) => {
    if (process.listenerCount(name) > 1) return; // others end the command
    for (const path of left) rmSync(path, { force: true });
    process.exit(statuses[name as keyof typeof statuses]);
  };
  const stop = () => {
    for (const name of signals) process.off(name, onSignal);
  };
  watchTemporaries((held) => {
    left = held;
    stop();
    if (held.size > 0) for (const name of signals) process.on(name, onSignal);
  });
  return {
    dispose: () => {
      watchTemporaries(undefined);
      stop();
    },
  };
}
