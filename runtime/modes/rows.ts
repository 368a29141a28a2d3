/** Runs many rows through a session in batches, without recompiling. */
import { bindSizes, type Graph, type HostTensor, symbol, UsageError } from "../../compiler/index.ts";
import type { InferenceSession } from "../session.ts";

export interface Rows {
  /** Total number of rows. */
  readonly count: number;
  /** Maximum rows per run; the last run may have fewer. */
  readonly batch: number;
  /** Whether every run has `batch` rows: the last is padded by repeating its last row. */
  readonly full?: boolean;
  /** The feeds for the rows with these indices. */
  readonly feeds: (rows: readonly number[]) => Promise<Readonly<Record<string, HostTensor>>>;
}

export interface RowsResult {
  /** Index of the first row. */
  readonly from: number;
  /** Valid rows. */
  readonly count: number;
  /** Rows of the tensors, including the padding after the valid rows. */
  readonly rows: number;
  readonly outputs: Readonly<Record<string, HostTensor>>;
}

/**
 * The graph for such runs: its size `batch` is constant if all runs have the same, otherwise symbolic up to the
 * largest.
 */
export function graphForRows(graph: Graph, { count, batch, full }: Omit<Rows, "feeds">): Graph {
  const isSame = full || count % batch === 0;
  return bindSizes(graph, { batch: isSame ? batch : symbol("batch", { max: batch }) });
}

/** The outputs of all rows, a batch at a time. */
export async function* runRows(session: InferenceSession, rows: Rows): AsyncGenerator<RowsResult> {
  const { count, batch, full, feeds } = rows;
  for (let from = 0; from < count; from += batch) {
    const own = Math.min(batch, count - from);
    const indices = Array.from({ length: full ? batch : own }, (_, i) => Math.min(from + i, count - 1));
    yield { from, count: own, rows: indices.length, outputs: await session.run(await feeds(indices)) };
  }
}

/** Row vectors of one width, flat; the data package's `Embeddings` have this form. */
export interface RowVectors {
  readonly data: Float32Array;
  readonly width: number;
}

/**
 * One output [batch, width] of all rows; `onRows` receives the number of rows done. Throws UsageError for a value that
 * is not finite, as from weights that diverged or belong to another model.
 */
export async function embedRows(
  session: InferenceSession,
  output: string,
  rows: Rows,
  onRows?: (done: number) => void,
): Promise<RowVectors> {
  const parts: Float32Array[] = [];
  let width = 0;
  for await (const { from, count, rows: length, outputs } of runRows(session, rows)) {
    const { data } = outputs[output]!;
    width = data.length / length;
    const part = Float32Array.from(data.subarray(0, count * width));
    const bad = part.findIndex((v) => !Number.isFinite(v));
    if (bad >= 0) {
      const row = from + Math.floor(bad / width);
      throw new UsageError(
        `"${output}" of row ${row} is ${part[bad]}: the weights diverged or belong to another model`,
      );
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
