/** Ctrl-C while something is written: it is broken off, and what was half written is removed. */

/** Aborts at the first SIGINT or SIGTERM; `dispose` gives the signals back. */
export function interruption(): { readonly signal: AbortSignal; dispose(): void } {
  const controller = new AbortController();
  const signals = ["SIGINT", "SIGTERM"] as const;
  const stop = () => controller.abort();
  for (const signal of signals) process.once(signal, stop);
  return {
    signal: controller.signal,
    dispose: () => {
      for (const signal of signals) process.off(signal, stop);
    },
  };
}
