/** Reads every sample of a dataset once, in stored order. */
import { FileError } from "../../compiler/index.ts";
import { prefetch } from "../concurrency.ts";
import type { OnSkip, Skipped } from "../files.ts";
import type { Judgement } from "../filters/judgement.ts";
import type { RawSample } from "../samples.ts";
import type { Source } from "./source.ts";

const ahead = 16;

export interface ReadAllOptions {
  /** Judges a sample, several concurrently; FileError when it is broken. */
  readonly judge: (raw: RawSample) => Promise<Judgement>;
  readonly onBroken: OnSkip;
  readonly onDropped: OnSkip;
  readonly onPart?: (done: number) => void;
  readonly signal?: AbortSignal;
}

/** The kept samples in order; the others are reported in the same order. Throws the signal's reason when it aborts. */
export async function* readAll(sources: readonly Source[], options: ReadAllOptions): AsyncGenerator<RawSample> {
  for await (const { name, judgement } of prefetch(started(sources, options), ahead)) {
    const found = await judgement;
    if ("kept" in found) yield found.kept;
    else if ("dropped" in found) options.onDropped({ name, reason: found.dropped });
    else options.onBroken(found);
    options.signal?.throwIfAborted();
  }
}

async function* started(sources: readonly Source[], options: ReadAllOptions) {
  let done = 0;
  for (const source of sources) {
    for (const number of source.parts.keys()) {
      options.signal?.throwIfAborted();
      const part = await source.open(number, options.onBroken);
      for (let i = 0; i < part.count; i += 1) {
        const name = part.name(i);
        const judgement = judged(() => part.read(i), name, options.judge);
        judgement.catch(() => {}); // reported in its turn
        yield { name, judgement };
      }
      options.onPart?.(++done);
    }
  }
}

async function judged(
  read: () => Promise<RawSample>,
  name: string,
  judge: ReadAllOptions["judge"],
): Promise<Judgement | Skipped> {
  try {
    return await judge(await read());
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    return { name, reason: error.message };
  }
}
