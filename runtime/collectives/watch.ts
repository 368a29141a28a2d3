/** Failure detection among ranks. */

export interface Watch {
  /**
   * Announces that this rank ends with an error. The error is printed once: by rank 0 for its own, by the watcher for
   * any other rank's.
   */
  fails(message: string): Promise<void>;
  /** Announces that this rank is done, so that its end is not a loss. */
  dispose(): void;
}

export const unwatched: Watch = { fails: async () => {}, dispose: () => {} };
