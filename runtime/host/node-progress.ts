/** Progress of long work on stderr: a bar on a terminal, otherwise a plain line every few seconds. */
import type { MultiBar } from "cli-progress";
import cliProgress from "cli-progress";
import { escapeControls } from "../file-errors.ts";
import { type Fields, progressText, RateMeter } from "../progress/progress-text.ts";
import type { Progress, ProgressOptions } from "./host.ts";

/** Further options for terminals and tests. */
export interface TerminalOptions extends ProgressOptions {
  /** Output stream. Default: stderr. */
  readonly stream?: ProgressStream;
  /** Seconds between plain lines when the stream is not a terminal. Default: 5. */
  readonly plainEverySeconds?: number;
  /** A monotonic clock, in milliseconds. */
  readonly now?: () => number;
}

/** The part of a stream's interface that is used; process.stderr fits. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

export function startProgress(options: TerminalOptions): Progress {
  const stream = options.stream ?? process.stderr;
  const meter = new RateMeter(options.now ?? (() => performance.now()), options.start ?? 0);
  let done = options.start ?? 0;
  let fields: Fields = {};
  const text = (width?: number) => progressText({ ...options, done, fields, rate: meter.rate() }, width);
  const view = stream.isTTY ? barView(stream, text) : lineView(stream, text, options);
  return {
    update: (nowDone, newFields = {}) => {
      done = nowDone;
      fields = { ...fields, ...newFields };
      meter.add(done);
      view.changed();
    },
    note: (line) => view.note(escapeControls(line)),
    dispose: () => view.dispose(),
  };
}

interface View {
  changed(): void;
  note(text: string): void;
  dispose(): void;
}

type Text = (width?: number) => string;

/** Redraws per second, at most. */
const framesPerSecond = 10;

function barView(stream: ProgressStream, text: Text): View {
  // A terminal that does not know its width reports 0 columns.
  const format = () => text(stream.columns || 80);
  const bars = new cliProgress.MultiBar({
    stream: stream as NodeJS.WriteStream,
    format,
    fps: framesPerSecond,
    hideCursor: true,
    gracefulExit: false,
  });
  let isOpen = true;
  let drawn = performance.now();
  const close = () => {
    if (isOpen) bars.stop();
    isOpen = false;
    giveBack();
  };
  const giveBack = onDeath(close); // before the cursor is hidden
  bars.create(1, 0); // the text has its own counter
  const redraw = () => {
    if (!isOpen) return;
    drawn = performance.now();
    bars.update();
  };
  return {
    // The bar's own timer fires late while work keeps the thread busy.
    changed: () => performance.now() - drawn > 2000 / framesPerSecond && redraw(),
    note: (line) => (isOpen ? noteAbove(bars, line, redraw) : void stream.write(`${line}\n`)),
    dispose: close,
  };
}

function noteAbove(bars: MultiBar, line: string, redraw: () => void): void {
  bars.log(`${line}\n`);
  redraw();
}

/**
 * Runs `close` when the process exits or is signalled. A signal without other listeners is then raised again, for its
 * default effect of ending the process. The returned function stops listening.
 */
function onDeath(close: () => void): () => void {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const onSignal = (signal: NodeJS.Signals) => {
    close();
    if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
  };
  process.on("exit", close);
  for (const signal of signals) process.on(signal, onSignal);
  return () => {
    process.off("exit", close);
    for (const signal of signals) process.off(signal, onSignal);
  };
}

function lineView(stream: ProgressStream, text: Text, options: TerminalOptions): View {
  const now = options.now ?? (() => performance.now());
  const everyMs = 1000 * (options.plainEverySeconds ?? 5);
  let printedAt = Number.NEGATIVE_INFINITY;
  let isCurrent = true;
  const print = () => {
    printedAt = now();
    isCurrent = true;
    stream.write(`${text()}\n`);
  };
  return {
    changed: () => {
      isCurrent = false;
      if (now() - printedAt >= everyMs) print();
    },
    note: (line) => void stream.write(`${line}\n`),
    dispose: () => {
      if (!isCurrent) print();
    },
  };
}
