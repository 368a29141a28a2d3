/**
 * What takes how long, told to whoever listens: the stages of the compiler, files, uploads, submissions, kernels, waits.
 * Nobody listens by default; asking costs a comparison.
 */

/** What happens beside each other, a row of a timeline each. */
export const tracks = [
  "steps",
  "data",
  "checkpoints",
  "compiler",
  "files",
  "uploads",
  "submissions",
  "waits",
  "kernels",
] as const;
export type Track = (typeof tracks)[number];

export type SpanFacts = Readonly<Record<string, string | number>>;

/** Takes spans; times are milliseconds of `performance.now()`. */
export interface Timeline {
  /** A span that has begun; the function that is given ends it. */
  begin(track: Track, name: string, facts?: SpanFacts): () => void;
  /** A span that is over. */
  span(track: Track, name: string, begin: number, end: number, facts?: SpanFacts): void;
}

let listening: Timeline | undefined;

/** Sets who listens in this process; undefined ends it. */
export function setTimeline(timeline: Timeline | undefined): void {
  listening = timeline;
}

/** Who listens, if anybody does. */
export const timeline = (): Timeline | undefined => listening;

/** Runs work as a span. */
export async function spanned<T>(track: Track, name: string, work: () => Promise<T>, facts?: SpanFacts): Promise<T> {
  if (!listening) return work();
  const end = listening.begin(track, name, facts);
  try {
    return await work();
  } finally {
    end();
  }
}
