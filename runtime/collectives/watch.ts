/** What is known of the other ranks while they work. */

export interface Watch {
  /** Tells the others that this rank ends with an error, which is told to people once: by rank 0 itself, and for another rank. */
  fails(message: string): Promise<void>;
  /** Says that this rank is done, so that its end is no loss. */
  dispose(): void;
}

export const unwatched: Watch = { fails: async () => {}, dispose: () => {} };
