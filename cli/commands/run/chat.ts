/** `heddle run ... chat`: a conversation about a picture, or about none. */
import { createInterface } from "node:readline";
import { type Graph, UsageError } from "../../../compiler/index.ts";
import { decodeImage, imageTensor } from "../../../data/index.ts";
import type { Config } from "../../../dsl/index.ts";
import {
  type ChatConfig,
  type ChatQueriesConfig,
  chatPrefill,
  decodeStep,
  imageToken,
  patchCount,
} from "../../../models/index.ts";
import {
  type AnswerOptions,
  type ChatImage,
  type ChatTemplate,
  cachedSession,
  chatTemplates,
  conversation,
  internlmTemplate,
  vicunaTemplate,
  type WritingLimits,
} from "../../../runtime/index.ts";
import { untilInterrupted } from "../../interrupt.ts";
import { json } from "../../output.ts";
import { isVision } from "./features.ts";
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

const defaults: WritingLimits = { strategy: { kind: "greedy" }, maxNewTokens: 512 };

export async function chatCommand(source: string, options: ChatOptions): Promise<number> {
  const config = chatOf(await openModel(source, options));
  if (options.image !== undefined) requirePictures([options.image]);
  const template = templateOf(options.template, config);
  const writing = writingOf(options, defaults);
  const beginning = graphOf("chat", (p) => chatPrefill(p, config));
  const step = graphOf("chat-step", (p) => decodeStep(p, config.text));
  const tokenizer = await openTokenizer(step, options);
  const image = options.image === undefined ? undefined : await pictureOf(options.image, config, beginning, options);
  return await withWeights(image ? beginning : step, options, async (model) => {
    const session = cachedSession(model, step, { rows: 1, limit: template.limit });
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

/** The configuration of a chat model; throws UsageError for any other. */
function chatOf({ name, config }: NamedModel): ChatConfig {
  const isChat = isVision(config?.vision) && isDecoder(config.text) && typeof config.features === "number";
  if (isChat) return config as unknown as ChatConfig;
  throw new UsageError(
    `chat needs a model with an InternViT and a language model, as internvl-chat-vicuna-7b is: "${name}" is none`,
  );
}

const isDecoder = (text: Config[string] | undefined): boolean =>
  typeof text === "object" && Object.hasOwn(text, "vocab");

/** The template asked for, else InternLM's where attention has biases, as only InternLM's has, else Vicuna's. */
function templateOf(name: string | undefined, { text }: ChatConfig): ChatTemplate {
  if (name === undefined) return text.attentionBias ? internlmTemplate : vicunaTemplate;
  const found = chatTemplates.find((t) => t.name === name);
  if (found) return found;
  throw new UsageError(`--template is one of ${chatTemplates.map((t) => t.name).join(", ")}, not "${name}"`);
}

/** Tokens that an image becomes: its patches, and by path B the queries before them. */
const visualTokenCount = (c: ChatConfig): number =>
  patchCount(c.vision) + ("qllama" in c ? (c as ChatQueriesConfig).qllama.queries : 0);

async function pictureOf(path: string, config: ChatConfig, beginning: Graph, { fit }: RunOptions): Promise<ChatImage> {
  const size = config.vision.image;
  const picture = await decodeImage(path, { size, fit: fit ?? "pad" });
  const place = { id: imageToken, tokens: visualTokenCount(config) };
  return { beginning, pixels: imageTensor([picture], { size }), place };
}
