/** A format that is read from a user's disk. */
export interface Format {
  readonly name: string;
  /** Writes a sound example; gives the files of it that are made wrong in turn. */
  readonly write: (folder: string) => Promise<readonly string[]>;
  /** Reads it whole, of which `file` was made wrong. Throws where a broken one is taken for something that it is not. */
  readonly read: (folder: string, file: string) => Promise<void>;
  /** A file that lacks more bytes than these at its end must be refused. */
  readonly mayLack?: number;
}
