/** Texts: a decoder with its cache goes on from a prompt, or from a picture and a prompt. */
import { type Graph, type HostTensor, type Precision, UsageError } from "../compiler/index.ts";
import type { Tokenizer } from "../data/browser-index.ts";
import { type Config, configure, type GenerateMode, type Model, type Piece, trace } from "../dsl/index.ts";
import {
  type CachedSession,
  cachedSession,
  captionPrompt,
  deviceModel,
  type Generated,
  type GenerateOptions,
  generate as generateTokens,
  type Strategy,
  textIds,
  textStream,
  tokensBegun,
} from "../runtime/index.ts";
import { requireDevice, requirePrecision } from "./checks.ts";
import type { Device } from "./device.ts";
import { openParameters, type WeightsFrom } from "./weights.ts";

/** What a decoder is put on a device with. */
export interface WriterOptions<C extends Config = Config> {
  readonly weights: WeightsFrom;
  readonly tokenizer: Tokenizer;
  /** Values that replace those of the model's configuration. */
  readonly settings?: Partial<C>;
  /** In which floats most of the work is done, and what the cache is kept as, where the device can. Default "f32". */
  readonly precision?: Precision;
}

/** A decoder on a device, that writes one text at a time. */
export interface Writer {
  /** Goes on from a text; see `generate`. */
  write(prompt: string, options: WritingOptions, onText: (text: string) => void): Promise<Text>;
  /** Frees its memory on the device, which stays open, once a text that was begun is written. */
  dispose(): void;
}

/** How a text is written. */
export interface WritingOptions {
  /** What the text is about, as `picture` gives it: f32 [batch = 1, channel, row, column]. For models that caption. */
  readonly picture?: HostTensor;
  /** New tokens at most, the end among them. Default 128, or as many as the model takes. */
  readonly maxNewTokens?: number;
  /** How tokens are chosen: { kind: "greedy" } is the default, others draw or search with beams. */
  readonly strategy?: Strategy;
  /** Ends the text where it is. */
  readonly signal?: AbortSignal;
}

/** A text that was written. */
export interface Text {
  readonly text: string;
  /** Ids of the new tokens, the end among them. */
  readonly tokens: readonly number[];
  /** Whether the model ended it, or it was as long as allowed, or the signal came. */
  readonly ended: Generated["ended"];
}

/**
 * A text that is being written: its parts as they come, whole characters only, and then all of it. A loop that is left before
 * the end ends the text where it is.
 */
export interface Written extends AsyncIterable<string> {
  readonly whole: Promise<Text>;
}

/**
 * Puts a decoder on a device: of a model whose record serves `generate` or `caption`. Throws UsageError for another model,
 * UsageError or FileError naming every weight that is missing.
 */
export async function openWriter<C extends Config>(
  device: Device,
  model: Model<C>,
  { weights, tokenizer, settings, precision = "f32" }: WriterOptions<C>,
): Promise<Writer> {
  requireDevice(device);
  requirePrecision(precision);
  if (typeof tokenizer?.encode !== "function")
    throw new UsageError("a writer needs a tokenizer, as `tokenizer` reads it");
  const config = configure(model, settings ?? ({} as Partial<C>));
  const { generate: plain, caption } = model.modes ?? {};
  const mode = plain ?? caption;
  if (!mode) throw new UsageError(`"${model.name}" writes no texts: its record serves neither generate nor caption`);
  const step = trace(model, config, { graph: mode.step });
  const beginning = caption && trace(model, config, { graph: caption.begin });
  const limit = typeof mode.limit === "number" ? mode.limit : mode.limit(config);
  const parameters = await openParameters(weights, beginning ?? step, model);
  const onDevice = deviceModel(device, parameters, { precision });
  let [isWriting, isDisposed] = [false, false];
  const free = () => {
    onDevice.dispose();
    void parameters.dispose();
  };
  /** The ids that the text goes on from, and how the session comes to know them. */
  const begun = (prompt: string, { picture }: WritingOptions): Beginning => {
    if (picture) {
      if (!beginning) throw new UsageError(`"${model.name}" sees no pictures: its record does not serve caption`);
      return ofPicture(beginning, step, tokenizer, prompt || caption.prompt || "", picture);
    }
    if (!plain) throw new UsageError(`"${model.name}" writes about pictures: give one as \`picture\``);
    return ofText(promptIds(tokenizer, prompt, (plain as GenerateMode).begin));
  };
  const write: Writer["write"] = async (prompt, options, onText) => {
    if (isDisposed) throw new UsageError(`the writer of "${model.name}" was disposed of; open another`);
    if (isWriting) throw new UsageError("a writer writes one text at a time: wait for the last one, or open another");
    isWriting = true;
    try {
      const beginning = begun(prompt, options);
      const {
        strategy = { kind: "greedy" },
        maxNewTokens = Math.min(usualTokens, limit - beginning.length),
        signal,
      } = options;
      if (!strategies.includes(strategy.kind))
        throw new UsageError(`a strategy is { kind: ${strategies.map((kind) => `"${kind}"`).join(" or ")} }`);
      if (beginning.length >= limit)
        throw new UsageError(
          `the prompt is ${beginning.length} tokens, which leaves no room: the model takes ${limit}`,
        );
      if (beginning.length + maxNewTokens > limit)
        throw new UsageError(
          `the prompt and maxNewTokens are ${beginning.length + maxNewTokens} tokens; the model takes ${limit}`,
        );
      const rows = strategy.kind === "beam" ? strategy.beams : 1;
      const session = cachedSession(onDevice, step, { rows, capacity: beginning.length + maxNewTokens, limit });
      const eos = [tokenizer.eos];
      const stream = textStream(tokenizer, eos, { onText, ...(beginning.after && { after: beginning.after }) });
      const how: GenerateOptions = {
        strategy,
        maxNewTokens,
        eos,
        onToken: (_, token) => stream.add(token),
        ...(signal && { signal }),
      };
      const made = await beginning.goOn(session, how);
      if (strategy.kind === "beam") for (const token of made.tokens) stream.add(token);
      return { ...made, text: stream.end() };
    } finally {
      isWriting = false;
      if (isDisposed) free();
    }
  };
  const dispose = () => {
    if (!isDisposed && !isWriting) free();
    isDisposed = true;
  };
  return { write, dispose };
}

const strategies: readonly Strategy["kind"][] = ["greedy", "sample", "beam"];

/** New tokens where nothing is said. */
const usualTokens = 128;

interface Beginning {
  /** Tokens before the first new one. */
  readonly length: number;
  /** Of a text that goes on, its ids. */
  readonly after?: readonly number[];
  readonly goOn: (session: CachedSession, how: GenerateOptions) => Promise<Generated>;
}

const ofText = (ids: readonly number[]): Beginning => ({
  length: ids.length,
  after: ids,
  goOn: async (session, how) => (await generateTokens(session, { ids: [ids] }, how))[0]!,
});

function ofPicture(beginning: Graph, step: Graph, tokenizer: Tokenizer, prompt: string, pixels: HostTensor): Beginning {
  const ids = captionPrompt(tokenizer, prompt);
  const axes = [
    { name: "batch", size: 1 },
    { name: "token", size: ids.length },
  ];
  return {
    length: tokensBegun(beginning, step, ids.length),
    goOn: async (session, how) => {
      const input_ids: HostTensor = { dtype: "i32", axes, data: Int32Array.from(ids) };
      const scores = await session.begin(beginning, { pixels, input_ids });
      return (await generateTokens(session, { scores }, how))[0]!;
    },
  };
}

/** The ids of a prompt: after what the record says it begins with, else as the tokenizer's own template begins texts. */
function promptIds(tokenizer: Tokenizer, prompt: string, begin: readonly Piece[] | undefined): number[] {
  const byTemplate = () => {
    const ids = [...tokenizer.encodeByTemplate(prompt)];
    return prompt !== "" && ids.length > 1 && ids.at(-1) === tokenizer.eos ? ids.slice(0, -1) : ids;
  };
  const before = (begin ?? []).flatMap((piece) =>
    typeof piece === "string" ? textIds(tokenizer, piece) : [tokenizer[piece.special]],
  );
  const ids = begin ? [...before, ...textIds(tokenizer, prompt)] : byTemplate();
  if (ids.length > 0) return ids;
  throw new UsageError("the prompt has no tokens: give it some text to go on from");
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
  const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
  const whole = writer
    .write(prompt, { ...options, signal }, (part) => {
      parts.push(part);
      tell();
    })
    .finally(() => {
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
