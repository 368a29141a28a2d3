/**
 * A process-wide hook for timing spans: compiler stages, files, uploads, submissions, kernels, waits. Without a
 * listener, which is the default, a span costs one comparison.
 */

/** Activities that may run concurrently; each is one row of the timeline. */
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

/** Receives spans; times are milliseconds of `performance.now()`. */
export interface Timeline {
  /** Begins a span; the returned function ends it. */
  begin(track: Track, name: string, facts?: SpanFacts): () => void;
  /** Records a finished span. */
  span(track: Track, name: string, begin: number, end: number, facts?: SpanFacts): void;
}

let listening: Timeline | undefined;

/** Sets the listener of this process; undefined removes it. */
export function setTimeline(timeline: Timeline | undefined): void {
  listening = timeline;
}

/** The current listener, if any. */
export const timeline = (): Timeline | undefined => listening;

/** Runs `work` and records it as a span. */
export async function spanned<T>(track: Track, name: string, work: () => Promise<T>, facts?: SpanFacts): Promise<T> {
  if (!listening) return work();
  const end = listening.begin(track, name, facts);
  try {
    return await work();
  } finally {
    end();
  }
}
