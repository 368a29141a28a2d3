/** `heddle run ... caption`: captions images. */
import { UsageError } from "../../../compiler/index.ts";
import type { Tokenizer } from "../../../data/index.ts";
import type { CaptionMode, Config } from "../../../dsl/index.ts";
import {
  type Caption,
  cachedSession,
  captionPrompt,
  decoderPrompt,
  escapeControls,
  type ShownPictures,
  tokensBegun,
  type WritingLimits,
  writeCaption,
} from "../../../runtime/index.ts";
import { untilInterrupted } from "../../interruption.ts";
import { json } from "../../output.ts";
import { type Decoding, decodingOf, limitOf, requireRoom } from "./decoding.ts";
import { graphOf, modeOf, type NamedModel, openModel, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { pixelsOfAll, preprocessingFor, requirePictures } from "./pictures.ts";
import { openTokenizer } from "./tokenizing.ts";
import { printable, rowsOf, type WritingOptions, writingOf } from "./writing.ts";

export interface CaptionOptions extends RunOptions, WritingOptions {
  readonly image: readonly string[];
  readonly prompt?: string;
  /** Few-shot examples, "fox.png=a fox", which precede each image. */
  readonly example: readonly string[];
}

/** The JSON of an image. */
export interface Captioned extends Caption {
  readonly image: string;
}

/** Default decoding settings of captions. */
export const defaultsOf = ({ beams = 1, minTokens, maxTokens = 30 }: CaptionMode): WritingLimits => ({
  strategy: beams > 1 ? { kind: "beam", beams } : { kind: "greedy" },
  maxNewTokens: maxTokens,
  ...(minTokens !== undefined && { minNewTokens: minTokens }),
});

interface Example {
  readonly picture: string;
  readonly said: string;
}

/**
 * The few-shot examples. Throws UsageError for one without an image or a caption, and for a model that takes only one
 * image.
 */
function examplesOf(given: readonly string[], mode: CaptionMode, name: string): readonly Example[] {
  if (given.length > 0 && !mode.pictures)
    throw new UsageError(`${name} reads one image at a time and takes no --example`);
  return given.map((example) => {
    const [, picture, said] = /^([^=]+)=(.+)$/s.exec(example) ?? [];
    if (picture !== undefined && said !== undefined) return { picture, said };
    throw new UsageError(`--example must be an image and its caption, as in fox.png="a fox"; got "${example}"`);
  });
}

/** How images are interleaved in a model's text; undefined for a model that takes one, before the text. */
export const shownIn = (
  { pictures }: CaptionMode,
  config: Config,
  examples: readonly Pick<Example, "said">[] = [],
): ShownPictures | undefined => pictures && { ...pictures(config), examples: examples.map(({ said }) => said) };

/** The graph that begins a caption, and its kind by the record. */
export const beginningOf = (named: NamedModel, { begin, encode }: CaptionMode) => graphOf(named, (begin ?? encode)!);

/**
 * The ids that a caption continues: the start token of a decoder that attends to the image, else BOS, and the prompt.
 */
export const captionIds = (
  mode: CaptionMode,
  tokenizer: Tokenizer,
  { start }: Decoding,
  prompt: string,
  shown: ShownPictures | undefined,
): readonly number[] =>
  mode.encode === undefined ? captionPrompt(tokenizer, prompt, shown) : decoderPrompt(tokenizer, prompt, start, mode);

/** The ids that end a caption. */
export const endsOf = ({ stops }: CaptionMode, { config }: NamedModel, { eos }: Decoding): readonly number[] => [
  ...eos,
  ...(stops?.(config!) ?? []),
];

export async function captionCommand(source: string, options: CaptionOptions): Promise<number> {
  const named = await openModel(source, options);
  const mode = modeOf(named, "caption");
  const examples = examplesOf(options.example, mode, named.name);
  requirePictures([...options.image, ...examples.map(({ picture }) => picture)]);
  writingOf(options, defaultsOf(mode)); // refuses conflicting flags before anything slow starts
  const prompt = options.prompt ?? mode.prompt ?? "";
  const beginning = beginningOf(named, mode);
  const step = graphOf(named, mode.step);
  const tokenizer = await openTokenizer(step, options);
  const decoding = await decodingOf(mode, named, tokenizer, options);
  const shown = shownIn(mode, named.config!, examples);
  const ids = captionIds(mode, tokenizer, decoding, prompt, shown);
  const begun = tokensBegun(beginning, step, ids.length);
  const limit = limitOf(mode, named);
  const writing = decoding.writing(options, defaultsOf(mode), { begun, limit });
  requireRoom(begun, writing.maxNewTokens, limit, "the image, the prompt");
  const preprocessing = await preprocessingFor(named, beginning, "caption", options);
  return await withWeights(named, [beginning, step], options, (model) =>
    untilInterrupted(async (signal) => {
      const capacity = begun + writing.maxNewTokens;
      const session = cachedSession(model, step, { rows: rowsOf(writing.strategy), capacity });
      const how = { ...writing, ids, signal, eos: endsOf(mode, named, decoding) };
      const written: Captioned[] = [];
      for (const image of options.image) {
        const pixels = await pixelsOfAll([...examples.map(({ picture }) => picture), image], preprocessing);
        const caption = await writeCaption(session, beginning, pixels, tokenizer, how);
        if (signal.aborted) break;
        written.push({ image, ...caption });
        const line = printable(caption.text);
        if (!options.json)
          process.stdout.write(options.image.length > 1 ? `${escapeControls(image)}\t${line}\n` : `${line}\n`);
      }
      if (options.json) process.stdout.write(`${json(written)}\n`);
    }),
  );
}
