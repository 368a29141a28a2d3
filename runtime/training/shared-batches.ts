/** A rank's rows of the batches that all ranks read. */
import { type HostTensor, inputName, type Sizes } from "../../compiler/index.ts";
import type { CompiledStep, TrainingBatch } from "./job.ts";
import { takeRows } from "./rows.ts";
import { fedInputs, type SampleAxis, type Share, sampleAxis } from "./share.ts";

type Feeds = TrainingBatch["feeds"];

/**
 * The pieces of a rank, in order. Those of a step are yielded once all its batches are read, each with the data cursor
 * after the step. `seen` is called with each batch as it was read.
 */
export async function* sharedBatches(
  batches: AsyncIterable<TrainingBatch>,
  { step, sizes }: { readonly step: CompiledStep; readonly sizes: Sizes },
  share: Share,
  seen: (batch: TrainingBatch) => void = () => {},
): AsyncGenerator<TrainingBatch> {
  const axes = new Map(fedInputs(step, "input").map((n) => [inputName(n), sampleAxis(n, share.symbol, sizes)]));
  let own: Pick<TrainingBatch, "feeds" | "names">[] = [];
  let number = 0;
  for await (const batch of batches) {
    seen(batch);
    for (const { batch: of, from, to } of share.pieces)
      if (of === number)
        own.push({
          feeds: rowsOf(batch.feeds, axes, from, to),
          ...(batch.names && { names: batch.names.slice(from, to) }),
        });
    number = (number + 1) % share.batches;
    if (number !== 0) continue;
    for (const piece of own) yield { ...piece, next: batch.next };
    own = [];
  }
}

/** Feeds that are not inputs of the step are passed through, to be rejected later. */
function rowsOf(
  feeds: Feeds,
  axes: ReadonlyMap<string, SampleAxis | undefined>,
  from: number,
  to: number,
): Readonly<Record<string, HostTensor>> {
  const taken = Object.entries(feeds).map(([name, tensor]) => {
    const along = axes.get(name);
    const has = along && tensor.axes.some((a) => a.name === along.axis);
    return [name, has ? takeRows(tensor, along.axis, from * along.each, to * along.each) : tensor] as const;
  });
  return Object.fromEntries(taken);
}
