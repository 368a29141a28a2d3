/** Ctrl-C while a text or a file is written: once ends the writing, twice the process. */

/** Exit status of what Ctrl-C ended: 128 + SIGINT. */
export const interrupted = 130;

const signals = ["SIGINT", "SIGTERM"] as const;

/** Runs `body`, whose signal aborts at Ctrl-C and when the process is asked to end; gives the exit status. */
export async function untilInterrupted(body: (signal: AbortSignal) => Promise<void>): Promise<number> {
  const controller = new AbortController();
  const handler = () => {
    if (controller.signal.aborted) process.exit(interrupted);
    controller.abort();
  };
  for (const name of signals) process.on(name, handler);
  try {
    await body(controller.signal);
    return controller.signal.aborted ? interrupted : 0;
  } finally {
    for (const name of signals) process.off(name, handler);
  }
}
