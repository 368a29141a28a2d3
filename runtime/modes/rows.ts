/** Running many rows through a session in batches of one size, so that nothing compiles twice. */
import { type HostTensor, UsageError } from "../../compiler/index.ts";
import type { InferenceSession } from "../session.ts";

export interface Rows {
  /** How many rows there are in all. */
  readonly count: number;
  /** Rows a run; the session's size of `batch`. */
  readonly batch: number;
  /** The inputs for the rows of these indices, `batch` of them; the last run repeats its last row to be full. */
  readonly feeds: (rows: readonly number[]) => Promise<Readonly<Record<string, HostTensor>>>;
}

export interface RowsResult {
  /** Index of the first row. */
  readonly from: number;
  /** Rows that count; what comes after them in the tensors repeats the last. */
  readonly count: number;
  readonly outputs: Readonly<Record<string, HostTensor>>;
}

/** The outputs of all rows, a batch at a time. */
export async function* runRows(session: InferenceSession, { count, batch, feeds }: Rows): AsyncGenerator<RowsResult> {
  for (let from = 0; from < count; from += batch) {
    const rows = Array.from({ length: batch }, (_, i) => Math.min(from + i, count - 1));
    yield { from, count: Math.min(batch, count - from), outputs: await session.run(await feeds(rows)) };
  }
}

/** Rows of one width, flat: what data's `Embeddings` are. */
export interface RowVectors {
  readonly data: Float32Array;
  readonly width: number;
}

/**
 * One output [batch, width] of all rows; `onRows` is told how many are done. Throws UsageError for a value that is not
 * finite, which weights that diverged or belong to another model give.
 */
export async function embedRows(
  session: InferenceSession,
  output: string,
  rows: Rows,
  onRows?: (done: number) => void,
): Promise<RowVectors> {
  const parts: Float32Array[] = [];
  let width = 0;
  for await (const { from, count, outputs } of runRows(session, rows)) {
    const { data } = outputs[output]!;
    width = data.length / rows.batch;
    const part = Float32Array.from(data.subarray(0, count * width));
    const bad = part.findIndex((v) => !Number.isFinite(v));
    if (bad >= 0) {
      const row = from + Math.floor(bad / width);
      throw new UsageError(`"${output}" of row ${row} holds ${part[bad]}: the weights diverged or are another model's`);
    }
    parts.push(part);
    onRows?.(from + count);
  }
  return { data: joined(parts), width };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
