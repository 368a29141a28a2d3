/**
 * The file operations that the runtime needs, as an interface: tests inject one that runs out of space or fails, pages
 * use another.
 */
export interface FileInfo {
  readonly size: number;
  readonly mode: number;
  isFile(): boolean;
  isDirectory(): boolean;
}

/** An open file. Offsets and lengths are in bytes; reads and writes may be short, like the system calls. */
export interface OpenFile {
  read(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesRead: number }>;
  write(
    buffer: Uint8Array,
    offset: number,
    length: number,
    position: number | null,
  ): Promise<{ readonly bytesWritten: number }>;
  stat(): Promise<FileInfo>;
  truncate(length: number): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

/** Errors are thrown as Node throws them: an Error with a `code` such as ENOSPC. */
export interface FileSystem {
  open(path: string, flags: "r" | "r+" | "wx", mode?: number): Promise<OpenFile>;
  stat(path: string): Promise<FileInfo>;
  realpath(path: string): Promise<string>;
  readdir(path: string): Promise<string[]>;
  mkdir(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** Makes the folder's entries (creations, renames, removals) survive a power cut. */
  syncFolder(path: string): Promise<void>;
  freeBytes(folder: string): Promise<number>;
  /** How messages name a path, such as a web address; default the path itself. */
  readonly shown?: (path: string) => string;
}

/** The system error code (ENOSPC, EACCES ...), or undefined for any other error. */
export function errorCode(error: unknown): string | undefined {
  const code = error instanceof Error ? (error as { readonly code?: unknown }).code : undefined;
  return typeof code === "string" ? code : undefined;
}
