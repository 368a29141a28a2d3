/**
 * A timeline as a file for Perfetto and Chrome: the JSON array of the Trace Event Format (Google, "Trace Event Format",
 * section "JSON Array Format"). Events are streamed to the file, and it is complete after each write, so that a killed
 * run leaves a readable file and a long one is not held in memory. A kill in the middle of a write may truncate it: the
 * format allows an array without its end.
 */
import { closeSync, openSync, statSync, writeSync } from "node:fs";
import {
  type SpanFacts,
  setTimeline,
  type Timeline,
  type Track,
  timeline,
  tracks,
  UsageError,
} from "../compiler/index.ts";
import { asFileError, fileError } from "./file-errors.ts";

/** Buffered characters, and milliseconds, after which events are written. */
const keptBack = 64 * 1024;
const keptBackMs = 250;

/** Ends the file, and is overwritten by the next events. */
const end = "\n]\n";

/** Concurrently open spans of a track get rows of their own, since spans in one row must not overlap. */
interface Row {
  readonly id: number;
  open: boolean;
  last: number;
}

/** Stride of row ids between tracks; no track has as many rows. */
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

  /** The first row of a track that is free from time `begun` on. */
  private rowFor(track: Track, begun: number): Row {
    let rows = this.rows.get(track);
    if (!rows) this.rows.set(track, (rows = []));
    const free = rows.find((r) => !r.open && r.last <= begun);
    if (free) return free;
    const row = { id: rowsOfTrack * (tracks.indexOf(track) + 1) + rows.length, open: false, last: 0 };
    rows.push(row);
    const name = rows.length === 1 ? track : `${track} ${rows.length}`;
    this.event({ ph: "M", name: "thread_name", tid: row.id, args: { name } });
    // Each row has an index: a viewer puts those without one first, far from the rows of their track.
    this.event({ ph: "M", name: "thread_sort_index", tid: row.id, args: { sort_index: row.id } });
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

  /** Writes the buffered events. */
  flush(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.text === "") return;
    this.at += this.put(this.text, this.at);
    this.text = "";
  }

  /** Writes text before the end of the file; returns its length in bytes. */
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

/** Microseconds, rounded to whole nanoseconds. */
const micros = (milliseconds: number): number => Math.round(milliseconds * 1e6) / 1e3;

/** A timeline that is being written. */
export interface OpenTrace {
  /** Closes the file. */
  dispose(): void;
}

/**
 * Writes a timeline of this process to a file until it is disposed of. Throws FileError when the file cannot be
 * written, UsageError when a timeline is already being written.
 */
export function openTrace(path: string): OpenTrace {
  if (timeline()) throw new UsageError("a timeline is already being written: a process can write only one at a time");
  let file: TraceFile;
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    // Opening a pipe without a reader would block forever.
    if (found && !found.isFile() && !found.isDirectory())
      throw fileError(path, "cannot be written: it is a device or a pipe", "name a regular file");
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
