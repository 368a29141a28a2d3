/**
 * A timeline as a file that Perfetto and Chrome open: the JSON array of the Trace Event Format (Google, "Trace Event
 * Format", section "JSON Array Format"). Events go to the file as they come and it is whole after each write, so that a run
 * that is killed leaves a file that opens, and a long one is not held in memory. A kill in the middle of a write may cut that
 * write: the format lets an array lack its end.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import {
  type SpanFacts,
  setTimeline,
  type Timeline,
  type Track,
  timeline,
  tracks,
  UsageError,
} from "../compiler/index.ts";
import { asFileError } from "./file-errors.ts";

/** Characters that are kept back until there are more of them, or until some time has passed. */
const keptBack = 64 * 1024;
const keptBackMs = 250;

/** What ends the file, and is written over by what comes next. */
const end = "\n]\n";

/** Spans that may be open at a time on a track have rows of their own: those of one row do not overlap. */
interface Row {
  readonly id: number;
  open: boolean;
  last: number;
}

/** Rows of different tracks; no track has as many. */
const rowsOfTrack = 1000;

class TraceFile implements Timeline {
  private readonly file: number;
  private readonly rows = new Map<Track, Row[]>();
  private text = "";
  private at = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(path: string) {
    this.file = openSync(path, "w");
    this.at = this.put("[", 0);
    this.event({ ph: "M", name: "process_name", args: { name: "heddle" } });
    for (const i of tracks.keys())
      this.event({ ph: "M", name: "thread_sort_index", tid: rowsOfTrack * (i + 1), args: { sort_index: i } });
    this.flush();
  }

  begin(track: Track, name: string, facts?: SpanFacts): () => void {
    const begun = performance.now();
    const row = this.rowFor(track, begun);
    row.open = true;
    return () => {
      row.open = false;
      this.write(row, name, begun, performance.now(), facts);
    };
  }

  span(track: Track, name: string, begun: number, ended: number, facts?: SpanFacts): void {
    this.write(this.rowFor(track, begun), name, begun, ended, facts);
  }

  /** The first row of a track that is free from a time on. */
  private rowFor(track: Track, begun: number): Row {
    let rows = this.rows.get(track);
    if (!rows) this.rows.set(track, (rows = []));
    const free = rows.find((r) => !r.open && r.last <= begun);
    if (free) return free;
    const row = { id: rowsOfTrack * (tracks.indexOf(track) + 1) + rows.length, open: false, last: 0 };
    rows.push(row);
    const name = rows.length === 1 ? track : `${track} ${rows.length}`;
    this.event({ ph: "M", name: "thread_name", tid: row.id, args: { name } });
    return row;
  }

  private write(row: Row, name: string, begun: number, ended: number, facts: SpanFacts = {}): void {
    row.last = ended;
    const ts = micros(begun);
    const dur = Math.max(0, Math.round(1e3 * (micros(ended) - ts)) / 1e3);
    this.event({ ph: "X", name, ts, dur, tid: row.id, args: facts });
  }

  private event(fields: Readonly<Record<string, unknown>>): void {
    this.text += `${this.at > 1 || this.text !== "" ? "," : ""}\n${JSON.stringify({ pid: 1, tid: 0, ...fields })}`;
    if (this.text.length >= keptBack) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), keptBackMs).unref();
  }

  /** Writes what was kept back. */
  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.text === "") return;
    this.at += this.put(this.text, this.at);
    this.text = "";
  }

  /** Puts text before the end of the file; gives its bytes. */
  private put(text: string, at: number): number {
    const bytes = Buffer.from(text + end);
    for (let done = 0; done < bytes.length; ) done += writeSync(this.file, bytes, done, bytes.length - done, at + done);
    return bytes.length - end.length;
  }

  close(): void {
    this.flush();
    closeSync(this.file);
  }
}

/** Whole nanoseconds, as microseconds. */
const micros = (milliseconds: number): number => Math.round(milliseconds * 1e6) / 1e3;

/** A timeline that is being written. */
export interface OpenTrace {
  /** Ends the file. */
  dispose(): void;
}

/**
 * Writes a timeline of this process to a file until it is disposed of. Throws FileError where the file cannot be written,
 * UsageError where one is being written already.
 */
export function openTrace(path: string): OpenTrace {
  if (timeline()) throw new UsageError("a timeline is being written already: a process has one at a time");
  let file: TraceFile;
  try {
    file = new TraceFile(path);
  } catch (error) {
    throw asFileError(error, "write", path);
  }
  const flush = () => file.flush();
  process.once("exit", flush);
  setTimeline(file);
  return {
    dispose: () => {
      if (timeline() === file) setTimeline(undefined);
      process.off("exit", flush);
      file.close();
    },
  };
}
