/** A file format that is read from a user's disk. */
export interface Format {
  readonly name: string;
  /** Writes a valid example; returns those of its files that are corrupted in turn. */
  readonly write: (folder: string) => Promise<readonly string[]>;
  /** Reads it whole, `file` having been corrupted. Throws where a broken file is misread as a valid one. */
  readonly read: (folder: string, file: string) => Promise<void>;
  /** A file truncated by more bytes than this must be refused. */
  readonly mayLack?: number;
}
