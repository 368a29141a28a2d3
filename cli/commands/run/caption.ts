/** `heddle run ... caption`: pictures put into words by QLLaMA itself. */
import { UsageError } from "../../../compiler/index.ts";
import { decodeImage, imageTensor } from "../../../data/index.ts";
import type { Config } from "../../../dsl/index.ts";
import { captionPrefill, captionStep, type GenerativeConfig, isVision } from "../../../models/index.ts";
import {
  type Caption,
  cachedSession,
  captionDefaults,
  captionLimit,
  captionPrompt,
  escapeControls,
  writeCaption,
} from "../../../runtime/index.ts";
import { untilInterrupted } from "../../interruption.ts";
import { json } from "../../output.ts";
import { graphOf, type NamedModel, openModel, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { requirePictures } from "./pictures.ts";
import { openTokenizer } from "./tokenizing.ts";
import { printable, rowsOf, type WritingOptions, writingOf } from "./writing.ts";

export interface CaptionOptions extends RunOptions, WritingOptions {
  readonly image: readonly string[];
  readonly prompt: string;
}

/** What `--json` prints of a picture. */
export interface Captioned extends Caption {
  readonly image: string;
}

export async function captionCommand(source: string, options: CaptionOptions): Promise<number> {
  const config = generativeOf(await openModel(source, options));
  requirePictures(options.image);
  const writing = writingOf(options, captionDefaults);
  const beginning = graphOf("caption", (p) => captionPrefill(p, config));
  const step = graphOf("caption-step", (p) => captionStep(p, config));
  const tokenizer = await openTokenizer(step, options);
  const longest = config.text.queries + captionPrompt(tokenizer, options.prompt).length + writing.maxNewTokens;
  if (longest > captionLimit)
    throw new UsageError(
      `the queries, the prompt and --max-tokens are ${longest} tokens; the model takes ${captionLimit}`,
    );
  return await withWeights(beginning, options, (model) =>
    untilInterrupted(async (signal) => {
      const session = cachedSession(model, step, { rows: rowsOf(writing.strategy), capacity: longest });
      const how = { ...writing, prompt: options.prompt, signal };
      const written: Captioned[] = [];
      for (const image of options.image) {
        const picture = await decodeImage(image, { size: config.vision.image, fit: options.fit ?? "squash" });
        const pixels = imageTensor([picture], { size: config.vision.image });
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

/** The configuration of a model with InternViT and QLLaMA; throws UsageError for any other. */
function generativeOf({ name, config }: NamedModel): GenerativeConfig {
  if (isVision(config?.vision) && hasQueries(config.text)) return config as unknown as GenerativeConfig;
  throw new UsageError(
    `caption needs a model with an InternViT and a QLLaMA, as internvl-g is: "${name}" has not both`,
  );
}

const hasQueries = (text: Config[string] | undefined): boolean =>
  typeof text === "object" && Object.hasOwn(text, "queries") && Object.hasOwn(text, "crossEvery");
