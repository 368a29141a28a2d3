/** Texts, while they are written. */
import { UsageError } from "../compiler/index.ts";
import { kindOfValue } from "../dsl/index.ts";
import { requireWriting, type Text, type Writer, type WritingOptions } from "./writer.ts";

/**
 * A text that is being written: its parts as they come, whole characters only, and then all of it. A loop that is left before
 * the end ends the text where it is.
 */
export interface Written extends AsyncIterable<string> {
  readonly whole: Promise<Text>;
}

/**
 * Goes on from a prompt. The result is iterated over for the text's parts as they are written; `whole` resolves to all of it.
 * A text of beam search comes at its end, since beams may still change. Throws UsageError, where it is iterated or awaited,
 * for a prompt that leaves no room.
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
  whole.catch(() => {}); // whoever iterates or awaits is told
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
        if (isLeft) await whole.catch(() => {}); // the writer is free again for whoever comes after the loop
      }
      await whole;
    },
  };
}

function requireWriter(writer: Writer): void {
  if (typeof writer?.write === "function") return;
  const given = (writer as unknown) instanceof Promise ? "a promise: await openWriter" : kindOfValue(writer);
  throw new UsageError(`a text is written by what openWriter gives, not by ${given}`);
}
