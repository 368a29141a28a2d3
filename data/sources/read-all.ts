/** Reads every sample of a data set once, in the order in which they lie. */
import { FileError } from "../../compiler/index.ts";
import { prefetch } from "../concurrency.ts";
import type { OnSkip } from "../files.ts";
import type { RawSample } from "../samples.ts";
import type { Source } from "./source.ts";

const ahead = 16;

export interface ReadAllOptions {
  /** Hears of samples that are broken, or that `check` throws a FileError for. */
  readonly onSkip: OnSkip;
  /** What is done to each sample, several at once; undefined leaves the sample out. */
  readonly check: (raw: RawSample) => Promise<RawSample | undefined>;
  readonly onPart?: (done: number) => void;
  readonly signal?: AbortSignal;
}

/** The samples that are left, in order. Throws the signal's reason when it aborts. */
export async function* readAll(sources: readonly Source[], options: ReadAllOptions): AsyncGenerator<RawSample> {
  for await (const { sample } of prefetch(started(sources, options), ahead)) {
    const found = await sample;
    if (found) yield found;
    options.signal?.throwIfAborted();
  }
}

async function* started(sources: readonly Source[], options: ReadAllOptions) {
  let done = 0;
  for (const source of sources) {
    for (const [number, path] of source.parts.entries()) {
      options.signal?.throwIfAborted();
      const part = await source.open(number, options.onSkip);
      for (let i = 0; i < part.count; i += 1) {
        const sample = checked(() => part.read(i), `${path}[${i}]`, options);
        sample.catch(() => {}); // told when its turn comes
        yield { sample };
      }
      options.onPart?.(++done);
    }
  }
}

async function checked(read: () => Promise<RawSample>, name: string, { check, onSkip }: ReadAllOptions) {
  let called = name;
  try {
    const raw = await read();
    called = raw.name;
    return await check(raw);
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    onSkip({ name: called, reason: error.message });
    return undefined;
  }
}
