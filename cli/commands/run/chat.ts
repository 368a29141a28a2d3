/** `heddle run ... chat`: a conversation about a picture, or about none. */
import { createInterface } from "node:readline";
import { UsageError } from "../../../compiler/index.ts";
import { decodeImage, imageTensor } from "../../../data/index.ts";
import {
  type ChatConfig,
  chatPrefill,
  chatTemplates,
  decodeStep,
  imageToken,
  internlmTemplate,
  isText,
  isVision,
  type TextConfig,
  vicunaTemplate,
  visualTokenCount,
} from "../../../models/index.ts";
import {
  type AnswerOptions,
  type ChatImage,
  type ChatTemplate,
  cachedSession,
  conversation,
  type WritingLimits,
} from "../../../runtime/index.ts";
import { untilInterrupted } from "../../interruption.ts";
import { json } from "../../output.ts";
import { graphOf, type NamedModel, openModel, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { requirePictures } from "./pictures.ts";
import { openTokenizer } from "./tokenizing.ts";
import { printable, type WritingOptions, writingOf } from "./writing.ts";

export interface ChatOptions extends RunOptions, WritingOptions {
  readonly image?: string;
  /** Questions, asked one after the other; lines of stdin when there are none. */
  readonly prompt?: readonly string[];
  readonly template?: string;
}

/** A turn as `--json` prints it. */
export interface Turn {
  readonly question: string;
  readonly answer: string;
  readonly ended: string;
}

/** Tokens that the template and a question usually come to. */
const questionRoom = 256;

const defaults: WritingLimits = { strategy: { kind: "greedy" }, maxNewTokens: 512 };

export async function chatCommand(source: string, options: ChatOptions): Promise<number> {
  const named = await openModel(source, options);
  const text = textOf(named);
  if (options.image !== undefined) requirePictures([options.image]);
  const template = templateOf(options.template, text);
  const writing = writingOf(options, defaults);
  const step = graphOf("chat-step", (p) => decodeStep(p, text));
  const tokenizer = await openTokenizer(step, options);
  const image = options.image === undefined ? undefined : await pictureOf(options.image, seeing(named), options);
  return await withWeights(image?.beginning ?? step, options, async (model) => {
    // Room for a first answer whole, so that nothing is compiled again while it is written.
    const capacity = Math.min(template.limit, (image?.place.tokens ?? 0) + questionRoom + writing.maxNewTokens);
    const session = cachedSession(model, step, { rows: 1, capacity, limit: template.limit });
    const talk = conversation(session, { template, tokenizer, ...(image && { image }) });
    const turns: Turn[] = [];
    let status = 0;
    for await (const question of questions(options.prompt)) {
      status = await untilInterrupted(async (signal) => {
        const how: AnswerOptions = { ...writing, signal, ...(!options.json && { onText: (t) => write(printable(t)) }) };
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

/** The questions given, else the lines of stdin that are not empty. */
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

const isChat = ({ config }: NamedModel): boolean =>
  isVision(config?.vision) && isText(config.text) && typeof config.features === "number";

/** The language model of a chat, or a language model alone; throws UsageError for any other model. */
function textOf(named: NamedModel): TextConfig {
  const { name, config } = named;
  if (isText(config) && !Object.hasOwn(config, "queries")) return config;
  if (isChat(named)) return config!.text as TextConfig;
  throw new UsageError(
    `chat needs a model with an InternViT and a language model, as internvl-chat-vicuna-7b is: "${name}" is none`,
  );
}

/** The configuration of a chat with pictures; throws UsageError for a language model alone. */
function seeing(named: NamedModel): ChatConfig {
  if (isChat(named)) return named.config as unknown as ChatConfig;
  throw new UsageError(`"${named.name}" is a language model alone and sees no picture: leave out --image`);
}

/** The template asked for, else InternLM's where attention has biases, as only InternLM's has, else Vicuna's. */
function templateOf(name: string | undefined, text: TextConfig): ChatTemplate {
  if (name === undefined) return text.attentionBias ? internlmTemplate : vicunaTemplate;
  const found = chatTemplates.find((t) => t.name === name);
  if (found) return found;
  throw new UsageError(`--template is one of ${chatTemplates.map((t) => t.name).join(", ")}, not "${name}"`);
}

async function pictureOf(path: string, config: ChatConfig, { fit }: RunOptions): Promise<ChatImage> {
  const beginning = graphOf("chat", (p) => chatPrefill(p, config));
  const size = config.vision.image;
  const picture = await decodeImage(path, { size, fit: fit ?? "pad" });
  const place = { id: imageToken, tokens: visualTokenCount(config) };
  return { beginning, pixels: imageTensor([picture], { size }), place };
}
