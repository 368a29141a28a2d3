/** `heddle run ... chat`: a conversation, with or without an image. */
import { createInterface } from "node:readline";
import { type HostTensor, UsageError } from "../../../compiler/index.ts";
import { type ChatMode, modelGraph } from "../../../dsl/index.ts";
import {
  type AnswerOptions,
  type ChatImage,
  type ChatTemplate,
  cachedSession,
  conversation,
  type WritingLimits,
} from "../../../runtime/index.ts";
import { sizesInWords } from "../../family-name.ts";
import { untilInterrupted } from "../../interruption.ts";
import { json } from "../../output.ts";
import { decodingOf } from "./decoding.ts";
import { graphOf, modeOf, type NamedModel, openModel, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { pixelsFrom, preprocessingFor, requirePictures } from "./pictures.ts";
import { openTokenizer } from "./tokenizing.ts";
import { printable, type WritingOptions, writingOf } from "./writing.ts";

export interface ChatOptions extends RunOptions, WritingOptions {
  readonly image?: string;
  /** Questions, asked in turn; default the lines of stdin. */
  readonly prompt?: readonly string[];
  readonly template?: string;
}

/** A turn as `--json` prints it. */
export interface Turn {
  readonly question: string;
  readonly answer: string;
  readonly ended: string;
}

/** Typical tokens of the template and a question. */
export const questionRoom = 256;

const defaults: WritingLimits = { strategy: { kind: "greedy" }, maxNewTokens: 512 };

export async function chatCommand(source: string, options: ChatOptions): Promise<number> {
  const named = await openModel(source, options);
  const mode = modeOf(named, "chat");
  if (options.image !== undefined) requirePictures([options.image]);
  const template = templateOf(options.template, mode, named);
  writingOf(options, defaults); // refuses conflicting flags before anything slow starts
  const step = graphOf(named, mode.step);
  const tokenizer = await openTokenizer(step, options);
  const decoding = await decodingOf(mode, named, tokenizer, options);
  const { eos } = decoding;
  const writing = decoding.writing(options, defaults);
  const image = options.image === undefined ? undefined : await pictureOf(options.image, mode, named, options);
  return await withWeights(named, image?.beginning ?? step, options, async (model) => {
    // Capacity for the whole first answer, so that nothing is recompiled while it is generated.
    const capacity = Math.min(template.limit, (image?.place.tokens ?? 0) + questionRoom + writing.maxNewTokens);
    const session = cachedSession(model, step, { rows: 1, capacity, limit: template.limit });
    const talk = conversation(session, { template, tokenizer, eos, ...(image && { image }) });
    const turns: Turn[] = [];
    let status = 0;
    for await (const question of questions(options.prompt)) {
      status = await untilInterrupted(async (signal) => {
        const how: AnswerOptions = {
          ...writing,
          signal,
          ...(!options.json && { onText: (t) => write(printable(t)) }),
        };
        const { text, ended } = await talk.ask(question, how);
        turns.push({ question, answer: text, ended });
      });
      if (!options.json) write("\n");
      if (status !== 0 && options.prompt) break;
    }
    if (options.json) write(`${json(turns)}\n`);
    return options.prompt ? status : 0;
  });
}

const write = (text: string): void => void process.stdout.write(text);

/** The given questions, else the non-empty lines of stdin. */
async function* questions(given: readonly string[] | undefined): AsyncGenerator<string> {
  if (given) return yield* given;
  const lines = createInterface({ input: process.stdin });
  const ask = () => {
    if (process.stdin.isTTY) process.stderr.write("> ");
  };
  ask();
  for await (const line of lines) {
    if (line.trim() !== "") yield line.trim();
    ask();
  }
}

/**
 * The requested template, else the model's first; for a model of no published name, stderr warns that it is a guess.
 */
export function templateOf(
  asked: string | undefined,
  mode: ChatMode,
  { name, model, config }: NamedModel,
): ChatTemplate {
  const known = typeof mode.templates === "function" ? mode.templates(config!) : mode.templates;
  const found = asked === undefined ? known[0] : known.find((t) => t.name === asked);
  if (asked === undefined && found && model && sizesInWords(model) !== undefined)
    process.stderr.write(
      `${name} has no published sizes, so its template is unknown: using "${found.name}"; choose another with --template: ${known.map((t) => t.name).join(", ")}\n`,
    );
  if (found) return found;
  throw new UsageError(`--template must be one of ${known.map((t) => t.name).join(", ")}; got "${asked}"`);
}

/** An image and its placeholder. Throws UsageError for a model that takes none. */
async function pictureOf(path: string, mode: ChatMode, named: NamedModel, options: RunOptions): Promise<ChatImage> {
  const seeing = placeOf(mode, named);
  return shownIn(seeing, await pixelsFrom(path, await preprocessingFor(named, seeing.beginning, "chat", options)));
}

/** An image with its placeholder, repeated for each of its tiles. */
export const shownIn = ({ beginning, place }: Omit<ChatImage, "pixels">, pixels: HostTensor): ChatImage => ({
  beginning,
  pixels,
  place: { ...place, tokens: place.tokens * (pixels.axes[0]?.size ?? 1) },
});

/** The prefill graph with an image, and the placeholder. Throws UsageError for a model that takes none. */
export function placeOf({ begin }: ChatMode, named: NamedModel): Omit<ChatImage, "pixels"> {
  const { name, model, config } = named;
  if (begin === undefined)
    throw new UsageError(`"${name}" is a language model without vision and takes no image: ask it without one`);
  const place = modelGraph(model!, begin).runs?.(config!).input_ids;
  if (place) return { beginning: graphOf(named, begin), place: { id: place.id, tokens: place.length } };
  throw new UsageError(
    `"${name}" does not declare where an image goes: its graph "${begin}" needs runs: { input_ids: { id, length } }`,
  );
}
