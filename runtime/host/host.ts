/** The platform services that differ between Node and a page. Both hosts export all of `Host`. */
import type { FileSystem } from "../file-system.ts";
import type { Fields } from "../progress/progress-text.ts";
import type { DrawingThreads } from "../random/drawing.ts";

/** Imported as `#host`: package.json selects the file by the "browser" condition. */
export interface Host extends Paths {
  readonly fileSystem: FileSystem;
  /** CRC-32 as in zlib (RFC 1952, section 8) of bytes or UTF-8 text, continuing from the CRC of what came before. */
  crc32(data: Uint8Array | string, sum?: number): number;
  lockRunFolder(folder: string): Promise<RunLock>;
  startProgress(options: ProgressOptions): Progress;
  /** Default: one thread per core; they start with the first draw. */
  drawingThreads(threads?: number): DrawingThreads;
}

/** As in node:path, with the host's separator. */
export interface Paths {
  readonly sep: string;
  join(...parts: string[]): string;
  resolve(...parts: string[]): string;
  dirname(path: string): string;
  basename(path: string): string;
  isAbsolute(path: string): boolean;
  relative(from: string, to: string): string;
}

/** A lock on a run's folder, held until disposed of. */
export interface RunLock {
  dispose(): Promise<void>;
}

export interface ProgressOptions {
  /** What is in progress, in a word or two. */
  readonly description: string;
  /** Total units of work, and how many were already done (by a resumed run). */
  readonly total: number;
  readonly start?: number;
  /** What the units are, in the plural. Default: steps. */
  readonly unit?: string;
  /** Receives the lines of `note` when there is no terminal to print them on. Default: they are dropped. */
  readonly onNote?: (text: string) => void;
}

/** A progress display. Dispose of it in a `finally`: until then the cursor is hidden and the process stays alive. */
export interface Progress {
  /** Sets the number of units done, with further figures to show (loss, learning rate). */
  update(done: number, fields?: Fields): void;
  /** Prints a line of its own above the bar. */
  note(text: string): void;
  /** Shows the final state and releases the terminal. */
  dispose(): void;
}
