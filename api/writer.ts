/** Writers: a decoder and its KV cache on a device, which generate from a prompt, or from an image and a prompt. */
import { type Graph, type HostTensor, type Precision, UsageError } from "../compiler/index.ts";
import type { Tokenizer } from "../data/browser-index.ts";
import { type Config, configure, type GenerateMode, kindOfValue, type Model, trace } from "../dsl/index.ts";
import {
  type CachedSession,
  cachedSession,
  captionPrompt,
  checkGenerateOptions,
  deviceModel,
  type Generated,
  type GenerateOptions,
  generate as generateTokens,
  idRow,
  nothingWritten,
  promptIds,
  type Strategy,
  textStream,
  tokensBegun,
} from "../runtime/index.ts";
import { requireTensor } from "./checks.ts";
import { type Device, onDevice, requireDevice } from "./device.ts";
import { modelOf } from "./modelled.ts";
import { always, kinds, type OptionTable, requireOptions } from "./options.ts";
import { openParameters, type WeightsFrom, weightsKind } from "./weights.ts";

/** Options of `openWriter`. */
export interface WriterOptions<C extends Config = Config> {
  readonly weights: WeightsFrom;
  readonly tokenizer: Tokenizer;
  /** Overrides of the model's configuration. */
  readonly settings?: Partial<C>;
  /** The float type of most computation and of the KV cache, where the device supports it. Default "f32". */
  readonly precision?: Precision;
}

/** A decoder on a device, which generates one text at a time. */
export interface Writer {
  /** Continues a prompt; see `generate`. */
  write(prompt: string, options: WritingOptions, onText: (text: string) => void): Promise<Text>;
  /** Frees its device memory once a generation in progress has ended; the device stays open. */
  dispose(): void;
}

/** Options of generation. */
export interface WritingOptions {
  /** The image to caption, as `picture` returns it: f32 [batch = 1, channel, row, column]. For models that caption. */
  readonly picture?: HostTensor;
  /** Maximum new tokens, the end token included. Default 128, or as many as the model takes. */
  readonly maxNewTokens?: number;
  /** Decoding strategy: default { kind: "greedy" }; others sample or use beam search. */
  readonly strategy?: Strategy;
  /** Stops generation. */
  readonly signal?: AbortSignal;
}

/** A generated text. */
export interface Text {
  readonly text: string;
  /** Ids of the new tokens, the end token included. */
  readonly tokens: readonly number[];
  /** Why it ended: the model's end token, the length limit, or the signal. */
  readonly ended: Generated["ended"];
}

/**
 * Loads a decoder onto a device, for a model whose record has the mode `generate` or `caption`. Throws UsageError for
 * another model, UsageError or FileError naming every missing weight.
 */
export async function openWriter<C extends Config>(
  device: Device,
  model: Model<C>,
  given: WriterOptions<C>,
): Promise<Writer> {
  requireDevice(device);
  requireOptions<WriterOptions>("openWriter", given, writerOptions);
  const { weights, tokenizer, settings, precision = "f32" } = given;
  if (!modelOf(model)) throw new UsageError(`openWriter takes a model from defineModel, got ${kindOfValue(model)}`);
  const config = configure(model, settings ?? ({} as Partial<C>));
  const { generate: plain, caption } = model.modes ?? {};
  const mode = plain ?? caption;
  if (!mode) throw new UsageError(`"${model.name}" cannot generate text: it has neither the mode generate nor caption`);
  const step = trace(model, config, { graph: mode.step });
  const beginning = caption && trace(model, config, { graph: caption.begin });
  const limit = typeof mode.limit === "number" ? mode.limit : mode.limit(config);
  const parameters = await openParameters(weights, beginning ?? step, model);
  const loaded = await onDevice(device, async () => deviceModel(device, parameters, { precision }));
  let [isWriting, isDisposed] = [false, false];
  const free = () => {
    loaded.dispose();
    void parameters.dispose();
  };
  /** The prompt's ids, and how the session is prefilled with them. */
  const begun = (prompt: string, { picture }: WritingOptions): Beginning => {
    if (picture) {
      if (!beginning) throw new UsageError(`"${model.name}" takes no images: it has no caption mode`);
      const shown = caption.pictures?.(config);
      return ofPicture(beginning, step, captionPrompt(tokenizer, prompt || caption.prompt || "", shown), picture);
    }
    if (!plain) throw new UsageError(`"${model.name}" captions images: pass one as \`picture\``);
    return ofText(promptIds(tokenizer, prompt, (plain as GenerateMode).begin));
  };
  const write: Writer["write"] = async (prompt, options, onText) => {
    requireWriting(prompt, options);
    if (isDisposed) throw new UsageError(`the writer of "${model.name}" has been disposed; open another one`);
    if (isWriting)
      throw new UsageError("a writer generates one text at a time: wait for the current one, or open another writer");
    isWriting = true;
    try {
      const beginning = begun(prompt, options);
      const {
        strategy = { kind: "greedy" },
        maxNewTokens = Math.min(usualTokens, limit - beginning.length),
        signal,
      } = options;
      if (beginning.length >= limit)
        throw new UsageError(
          `the prompt has ${beginning.length} tokens, which leaves no room for new ones: the context length of the model is ${limit}`,
        );
      if (beginning.length + maxNewTokens > limit)
        throw new UsageError(
          `the prompt and maxNewTokens add up to ${beginning.length + maxNewTokens} tokens; the context length of the model is ${limit}`,
        );
      checkGenerateOptions({ strategy, maxNewTokens });
      const rows = strategy.kind === "beam" ? strategy.beams : 1;
      const session = cachedSession(loaded, step, { rows, capacity: beginning.length + maxNewTokens, limit });
      const eos = [tokenizer.eos, ...((options.picture && caption?.stops?.(config)) ?? [])];
      const stream = textStream(tokenizer, eos, { onText, ...(beginning.after && { after: beginning.after }) });
      const how: GenerateOptions = {
        strategy,
        maxNewTokens,
        eos,
        onToken: (_, token) => stream.add(token),
        ...(signal && { signal }),
      };
      const made = await onDevice(device, () => beginning.goOn(session, how));
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

/** The options of each decoding strategy; their values are checked where they are used. */
const strategies: { readonly [kind in Strategy["kind"]]: OptionTable<Extract<Strategy, { readonly kind: kind }>> } = {
  greedy: { kind: kinds.text },
  sample: {
    kind: kinds.text,
    temperature: kinds.number,
    topK: kinds.number,
    topP: kinds.number,
    seed: always(kinds.number),
  },
  beam: {
    kind: kinds.text,
    beams: always(kinds.number),
    lengthPenalty: kinds.number,
    earlyStopping: kinds.anything,
  },
};

const writerOptions: OptionTable<WriterOptions> = {
  weights: always(weightsKind),
  tokenizer: always({
    is: (value) => typeof (value as Tokenizer | null)?.encode === "function",
    needed: "the result of `tokenizer`",
  }),
  settings: kinds.settings,
  precision: kinds.precision,
};

const writingOptions: OptionTable<WritingOptions> = {
  picture: kinds.anything,
  maxNewTokens: kinds.number,
  strategy: {
    is: (value) => Object.hasOwn(strategies, String((value as Strategy | null)?.kind)),
    needed: `one of ${Object.keys(strategies)
      .map((kind) => `{ kind: "${kind}" }`)
      .join(", ")}`,
  },
  signal: kinds.signal,
};

/** Throws UsageError for an invalid prompt or options. */
export function requireWriting(prompt: string, options: WritingOptions): void {
  if (typeof prompt !== "string") throw new UsageError(`the prompt must be a string, got ${kindOfValue(prompt)}`);
  requireOptions("generate", options, writingOptions);
  const { strategy, picture } = options;
  if (strategy) requireOptions<Strategy>(`the strategy "${strategy.kind}"`, strategy, strategies[strategy.kind]);
  if (picture) requireTensor(picture, "the image");
}

/** Default maximum of new tokens. */
const usualTokens = 128;

interface Beginning {
  /** The number of prompt tokens. */
  readonly length: number;
  /** The prompt's ids, if the text continues them. */
  readonly after?: readonly number[];
  readonly goOn: (session: CachedSession, how: GenerateOptions) => Promise<Generated>;
}

const ofText = (ids: readonly number[]): Beginning => ({
  length: ids.length,
  after: ids,
  goOn: async (session, how) => (await generateTokens(session, { ids: [ids] }, how))[0]!,
});

function ofPicture(beginning: Graph, step: Graph, ids: readonly number[], pixels: HostTensor): Beginning {
  return {
    length: tokensBegun(beginning, step, ids.length),
    goOn: async (session, how) => {
      if (how.signal?.aborted) return nothingWritten;
      const scores = await session.begin(beginning, { pixels, input_ids: idRow(ids) });
      return (await generateTokens(session, { scores }, how))[0]!;
    },
  };
}
