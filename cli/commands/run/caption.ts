/** `heddle run ... caption`: pictures put into words by the model itself. */
import type { CaptionMode } from "../../../dsl/index.ts";
import {
  type Caption,
  cachedSession,
  captionPrompt,
  escapeControls,
  tokensBegun,
  type WritingLimits,
  writeCaption,
} from "../../../runtime/index.ts";
import { untilInterrupted } from "../../interruption.ts";
import { json } from "../../output.ts";
import { limitOf, requireRoom } from "./decoding.ts";
import { graphOf, modeOf, openModel, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { pixelsFrom, preprocessingFor, requirePictures } from "./pictures.ts";
import { openTokenizer } from "./tokenizing.ts";
import { printable, rowsOf, type WritingOptions, writingOf } from "./writing.ts";

export interface CaptionOptions extends RunOptions, WritingOptions {
  readonly image: readonly string[];
  readonly prompt?: string;
}

/** What `--json` prints of a picture. */
export interface Captioned extends Caption {
  readonly image: string;
}

/** How a caption is written where the command does not say. */
export const defaultsOf = ({ beams = 1, minTokens, maxTokens = 30 }: CaptionMode): WritingLimits => ({
  strategy: beams > 1 ? { kind: "beam", beams } : { kind: "greedy" },
  maxNewTokens: maxTokens,
  ...(minTokens !== undefined && { minNewTokens: minTokens }),
});

export async function captionCommand(source: string, options: CaptionOptions): Promise<number> {
  const named = await openModel(source, options);
  const mode = modeOf(named, "caption");
  requirePictures(options.image);
  const writing = writingOf(options, defaultsOf(mode));
  const prompt = options.prompt ?? mode.prompt ?? "";
  const beginning = graphOf(named, mode.begin);
  const step = graphOf(named, mode.step);
  const tokenizer = await openTokenizer(step, options);
  const begun = tokensBegun(beginning, step, captionPrompt(tokenizer, prompt).length);
  requireRoom(begun, writing.maxNewTokens, limitOf(mode, named), "the picture, the prompt");
  const preprocessing = await preprocessingFor(named, beginning, "caption", options);
  return await withWeights(named, beginning, options, (model) =>
    untilInterrupted(async (signal) => {
      const capacity = begun + writing.maxNewTokens;
      const session = cachedSession(model, step, { rows: rowsOf(writing.strategy), capacity });
      const how = { ...writing, prompt, signal, stops: mode.stops?.(named.config!) ?? [] };
      const written: Captioned[] = [];
      for (const image of options.image) {
        const pixels = await pixelsFrom(image, preprocessing);
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
