/** Progress of long work on stderr: a bar on a terminal, a plain line now and then anywhere else. */
import type { MultiBar } from "cli-progress";
import cliProgress from "cli-progress";
import { escapeControls } from "../file-errors.ts";
import { type Fields, progressText, RateMeter } from "../progress/progress-text.ts";
import type { Progress, ProgressOptions } from "./host.ts";

/** Of a terminal, and for tests, also: */
export interface TerminalOptions extends ProgressOptions {
  /** Where it is shown. Default: stderr. */
  readonly stream?: ProgressStream;
  /** Seconds between plain lines where the stream is no terminal. Default: 5. */
  readonly plainEverySeconds?: number;
  /** Milliseconds of any steady clock. */
  readonly now?: () => number;
}

/** What is needed of a stream: process.stderr is one. */
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

/** At most this many redraws a second. */
const framesPerSecond = 10;

function barView(stream: ProgressStream, text: Text): View {
  // A terminal that does not know its width has 0 columns.
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
  bars.create(1, 0); // the text has its own count
  const redraw = () => {
    if (!isOpen) return;
    drawn = performance.now();
    bars.update();
  };
  return {
    // The bar's own timer is late while work keeps the thread busy.
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
 * Runs `close` when the process ends or is told to. A signal that nobody else listens for then does what it would have
 * done, which is to end the process. The function returned stops listening.
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
