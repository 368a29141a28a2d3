/** What the runtime needs of where it runs, and that differs between Node and a page. Both hosts export all of `Host`. */
import type { FileSystem } from "../file-system.ts";
import type { Fields } from "../progress/progress-text.ts";
import type { DrawingThreads } from "../random/drawing.ts";

/** Imported as `#host`: package.json chooses the file by the condition "browser". */
export interface Host extends Paths {
  readonly fileSystem: FileSystem;
  /** CRC-32 as zlib has it (RFC 1952, section 8) of bytes or UTF-8 text, going on from the sum of what came before. */
  crc32(data: Uint8Array | string, sum?: number): number;
  lockRunFolder(folder: string): Promise<RunLock>;
  startProgress(options: ProgressOptions): Progress;
  /** Default: as many threads as the processor has; they start with the first draw. */
  drawingThreads(threads?: number): DrawingThreads;
}

/** As node:path has them, for the host's own separator. */
export interface Paths {
  readonly sep: string;
  join(...parts: string[]): string;
  resolve(...parts: string[]): string;
  dirname(path: string): string;
  basename(path: string): string;
  isAbsolute(path: string): boolean;
  relative(from: string, to: string): string;
}

/** A run's folder, taken until disposed of. */
export interface RunLock {
  dispose(): Promise<void>;
}

export interface ProgressOptions {
  /** What is going on, in a word or two. */
  readonly description: string;
  /** Units of work in all, and how many were done before (a resumed run). */
  readonly total: number;
  readonly start?: number;
  /** What is counted, in the plural. Default: steps. */
  readonly unit?: string;
  /** Is told the lines of `note` where there is no terminal to print them on. Default: nobody. */
  readonly onNote?: (text: string) => void;
}

/** Work being shown. Dispose of it in a `finally`: until then the cursor is hidden and the process stays alive. */
export interface Progress {
  /** Tells how many units are done, with further figures to show (loss, learning rate). */
  update(done: number, fields?: Fields): void;
  /** Prints a line of its own above the bar. */
  note(text: string): void;
  /** Shows the last state and gives the terminal back. */
  dispose(): void;
}
