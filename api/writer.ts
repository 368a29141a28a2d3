/**
 * Writers: a decoder and its KV cache on a device, which generate from a prompt, or from an image and a prompt, or from
 * a source text.
 */
import { type HostTensor, type Precision, UsageError } from "../compiler/index.ts";
import type { Tokenizer } from "../data/browser-index.ts";
import { type Config, configure, type JsonRecord, kindOfValue, type Model, type TokenRules } from "../dsl/index.ts";
import {
  begunText,
  cachedSession,
  checkGenerateOptions,
  deviceModel,
  type Generated,
  type GenerateOptions,
  type GenerationConfig,
  generate as generateTokens,
  generationConfig,
  isEncoder,
  isRecord,
  nothingWritten,
  parametersTogether,
  type Strategy,
  storedLimits,
  storedStrategy,
  textStream,
  type WritingLimits,
} from "../runtime/index.ts";
import { requireTensor } from "./checks.ts";
import { sizedByWeights } from "./config-beside.ts";
import { type Device, onDevice, requireDevice } from "./device.ts";
import { modelOf } from "./modelled.ts";
import { always, type Kind, kinds, type OptionTable, requireOptions } from "./options.ts";
import { type ModelTexts, modelTexts, type TextBeginning } from "./text-beginning.ts";
import { openParameters, type WeightsFrom, weightsKind } from "./weights.ts";

/** Options of `openWriter`. */
export interface WriterOptions<C extends Config = Config> {
  readonly weights: WeightsFrom;
  readonly tokenizer: Tokenizer;
  /** Overrides of the model's configuration. */
  readonly settings?: Partial<C>;
  /** The float type of most computation and of the KV cache, where the device supports it. Default "f32". */
  readonly precision?: Precision;
  /**
   * The contents of the checkpoint's generation_config.json: its special tokens and rules, and its beams and lengths
   * where `generate` is not told. Its `do_sample` is not applied: pass { kind: "sample", seed } to `generate`.
   */
  readonly generation?: JsonRecord;
}

/** A decoder on a device, which generates one text at a time. */
export interface Writer {
  /** Continues a prompt, or writes a text from a source text; see `generate`. */
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
  /** No end token before this many new ones. Default 0. */
  readonly minNewTokens?: number;
  /**
   * Decoding strategy: default { kind: "greedy" }; others sample or use beam search, and have the settings of the
   * writer's `generation` where they leave them out.
   */
  readonly strategy?: Strategy;
  /** Penalties, suppressed and forced tokens, which override those of the model and of the writer's `generation`. */
  readonly rules?: TokenRules;
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
  const { weights, tokenizer, settings, precision = "f32", generation } = given;
  const stored = generation && generationConfig(generation, wrongField);
  if (!modelOf(model)) throw new UsageError(`openWriter takes a model from defineModel, got ${kindOfValue(model)}`);
  const sized = (await sizedByWeights(model, weights)) as Model<C>;
  const config = configure(sized, settings ?? ({} as Partial<C>));
  const texts = modelTexts(model, config, tokenizer, stored);
  const parameters = await openParameters(weights, parametersTogether(texts.graphs), model);
  const loaded = await onDevice(device, async () => deviceModel(device, parameters, { precision }));
  const free = () => {
    loaded.dispose();
    void parameters.dispose();
  };
  const source = { device, loaded, texts, tokenizer, stored };
  return oneAtATime(model.name, (prompt, options, onText) => written(source, prompt, options, onText), free);
}

/** A writer that refuses a text while another is generated, and frees its model after the last. */
function oneAtATime(model: string, write: Writer["write"], free: () => void): Writer {
  let [isWriting, isDisposed] = [false, false];
  return {
    async write(prompt, options, onText) {
      requireWriting(prompt, options);
      if (isDisposed) throw new UsageError(`the writer of "${model}" has been disposed; open another one`);
      if (isWriting)
        throw new UsageError("a writer generates one text at a time: wait for the current one, or open another writer");
      isWriting = true;
      try {
        return await write(prompt, options, onText);
      } finally {
        isWriting = false;
        if (isDisposed) free();
      }
    },
    dispose() {
      if (!isDisposed && !isWriting) free();
      isDisposed = true;
    },
  };
}

/** A model on a device, and how its texts begin and end. */
interface TextSource {
  readonly device: Device;
  readonly loaded: ReturnType<typeof deviceModel>;
  readonly texts: ModelTexts;
  readonly tokenizer: Tokenizer;
  readonly stored: GenerationConfig | undefined;
}

async function written(
  { device, loaded, texts, tokenizer, stored }: TextSource,
  prompt: string,
  options: WritingOptions,
  onText: (text: string) => void,
): Promise<Text> {
  const { step, limit } = texts;
  const beginning = texts.begin(prompt, options.picture);
  const { eos, graph, feeds, ids, length, after } = beginning;
  const asked = generationOf(options, beginning, limit, stored);
  requireRoom(length, asked.maxNewTokens, limit);
  checkGenerateOptions(asked);
  const { signal } = options;
  const rows = asked.strategy.kind === "beam" ? asked.strategy.beams : 1;
  const session = cachedSession(loaded, step, { rows, capacity: length + asked.maxNewTokens, limit });
  const stream = textStream(tokenizer, eos, { onText, ...(after && { after }) });
  const how: GenerateOptions = {
    ...asked,
    eos,
    onToken: (_, token) => stream.add(token),
    ...(signal && { signal }),
  };
  const made = await onDevice(device, async () => {
    if (signal?.aborted) return nothingWritten;
    return (await generateTokens(session, await begunText(session, graph, feeds, ids), how))[0]!;
  });
  if (asked.strategy.kind === "beam") for (const token of made.tokens) stream.add(token);
  return { ...made, text: stream.end() };
}

/** Strategy, lengths and rules of a text: those of the call, then of generation_config.json, then the defaults. */
function generationOf(
  { strategy, rules, ...lengths }: WritingOptions,
  beginning: TextBeginning,
  limit: number,
  stored: GenerationConfig | undefined,
) {
  const { length, graph } = beginning;
  const usual: WritingLimits = { strategy: { kind: "greedy" }, maxNewTokens: Math.min(usualTokens, limit - length) };
  const encodes = graph !== undefined && isEncoder(graph);
  const found = stored ? storedLimits(stored, usual, { begun: length, limit, encodes }) : usual;
  const given = strategy ?? found.strategy;
  const { maxNewTokens = found.maxNewTokens } = lengths;
  return {
    strategy: stored ? storedStrategy(stored, given) : given,
    maxNewTokens,
    minNewTokens: lengths.minNewTokens ?? Math.min(found.minNewTokens ?? 0, maxNewTokens),
    rules: { ...beginning.rules, ...rules },
  };
}

function requireRoom(begun: number, maxNewTokens: number, limit: number): void {
  if (begun >= limit)
    throw new UsageError(
      `the prompt has ${begun} tokens, which leaves no room for new ones: the context length of the model is ${limit}`,
    );
  if (begun + maxNewTokens > limit)
    throw new UsageError(
      `the prompt and maxNewTokens add up to ${begun + maxNewTokens} tokens; the context length of the model is ${limit}`,
    );
}

/** The options of each decoding strategy; their values are checked where they are used. */
const strategies: { readonly [kind in Strategy["kind"]]: OptionTable<Extract<Strategy, { readonly kind: kind }>> } = {
  greedy: { kind: kinds.text },
  sample: {
    kind: kinds.text,
    temperature: kinds.number,
    topK: kinds.number,
    topP: kinds.number,
    minP: kinds.number,
    typicalP: kinds.number,
    epsilonCutoff: kinds.number,
    etaCutoff: kinds.number,
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
  generation: { is: (value) => isRecord(value), needed: "the contents of a generation_config.json, an object" },
};

const writingOptions: OptionTable<WritingOptions> = {
  picture: kinds.anything,
  maxNewTokens: kinds.number,
  minNewTokens: kinds.number,
  strategy: {
    is: (value) => Object.hasOwn(strategies, String((value as Strategy | null)?.kind)),
    needed: `one of ${Object.keys(strategies)
      .map((kind) => `{ kind: "${kind}" }`)
      .join(", ")}`,
  },
  rules: { is: (value) => isRecord(value), needed: "an object of rules such as { repetitionPenalty: 1.2 }" },
  signal: kinds.signal,
};

const ids: Kind = { is: Array.isArray, needed: "a list of token ids" };
const ruleOptions: OptionTable<TokenRules> = {
  ...{ forcedBos: kinds.number, forcedEos: ids, suppress: ids, beginSuppress: ids },
  badWords: { is: Array.isArray, needed: "a list of lists of token ids" },
  ...{ noRepeatNgram: kinds.number, noSourceNgram: kinds.number },
  ...{ repetitionPenalty: kinds.number, sourcePenalty: kinds.number },
};

/** Throws UsageError for an invalid prompt or options. */
export function requireWriting(prompt: string, options: WritingOptions): void {
  if (typeof prompt !== "string") throw new UsageError(`the prompt must be a string, got ${kindOfValue(prompt)}`);
  requireOptions("generate", options, writingOptions);
  const { strategy, rules, picture } = options;
  if (strategy) requireOptions<Strategy>(`the strategy "${strategy.kind}"`, strategy, strategies[strategy.kind]);
  if (rules) requireOptions("the rules", rules, ruleOptions);
  if (picture) requireTensor(picture, "the image");
}

/** Default maximum of new tokens. */
const usualTokens = 128;

const wrongField = (field: string, needed: string): UsageError =>
  new UsageError(`openWriter: "${field}" of \`generation\` must be ${needed}`);
