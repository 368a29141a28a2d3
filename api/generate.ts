/** Streaming text generation. */
import { UsageError } from "../compiler/index.ts";
import { kindOfValue } from "../dsl/index.ts";
import { requireWriting, type Text, type Writer, type WritingOptions } from "./writer.ts";

/**
 * Text being generated: an async iterable of its parts, whole characters only, and a promise of all of it. Leaving the
 * loop early stops generation.
 */
export interface Written extends AsyncIterable<string> {
  readonly whole: Promise<Text>;
}

/**
 * Generates a continuation of a prompt; with an encoder-decoder, a text from the prompt as its source. Iterate over the
 * result for parts of the text as they are generated; `whole` resolves to all of it. Beam search yields its text only
 * at the end, since beams may still change. Throws UsageError, when iterated or awaited, for a prompt that leaves no
 * room.
 */
export function generate(writer: Writer, prompt: string, options: WritingOptions = {}): Written {
  const parts: string[] = [];
  let [ended, news] = [false, Promise.withResolvers<void>()];
  const tell = () => {
    news.resolve();
    news = Promise.withResolvers<void>();
  };
  const left = new AbortController();
  const write = async () => {
    requireWriter(writer);
    requireWriting(prompt, options);
    const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
    return await writer.write(prompt, { ...options, signal }, (part) => {
      parts.push(part);
      tell();
    });
  };
  const whole = write().finally(() => {
    ended = true;
    tell();
  });
  whole.catch(() => {}); // rejections reach whoever iterates or awaits
  return {
    whole,
    async *[Symbol.asyncIterator]() {
      let isLeft = true;
      try {
        for (let at = 0; ; ) {
          while (at < parts.length) yield parts[at++]!;
          if (ended) break;
          await news.promise;
        }
        isLeft = false;
      } finally {
        if (isLeft) left.abort();
        if (isLeft) await whole.catch(() => {}); // frees the writer before the loop's caller continues
      }
      await whole;
    },
  };
}

function requireWriter(writer: Writer): void {
  if (typeof writer?.write === "function") return;
  const given = (writer as unknown) instanceof Promise ? "a promise: await openWriter" : kindOfValue(writer);
  throw new UsageError(`a writer must be the result of openWriter, got ${given}`);
}
