/** What is known of the other ranks while they work. */

export interface Watch {
  /** Tells the others that this rank ends with an error, which is to be told once: by rank 0 if this is another. */
  fails(message: string): Promise<void>;
  /** Says that this rank is done, so that its end is no loss. */
  dispose(): void;
}

export const unwatched: Watch = { fails: async () => {}, dispose: () => {} };
