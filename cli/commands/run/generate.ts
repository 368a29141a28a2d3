/** `heddle run ... generate`: continues texts with a language model. */
import { type AnswerOptions, cachedSession, generate, promptIds, textStream } from "../../../runtime/index.ts";
import { untilInterrupted } from "../../interruption.ts";
import { json } from "../../output.ts";
import { limitOf, requireRoom } from "./decoding.ts";
import { graphOf, modeOf, openModel, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { openTokenizer } from "./tokenizing.ts";
import { printable, rowsOf, type WritingOptions, writingOf } from "./writing.ts";

export interface GenerateTextOptions extends RunOptions, WritingOptions {
  readonly prompt: readonly string[];
}

/** The JSON of a prompt. */
export interface Continued {
  readonly prompt: string;
  readonly text: string;
  /** Ids of the prompt, and new ones, the end token included. */
  readonly promptTokens: readonly number[];
  readonly tokens: readonly number[];
  readonly ended: string;
}

/** Default new tokens, capped by the model's limit. */
const usualTokens = 128;

export async function generateCommand(source: string, options: GenerateTextOptions): Promise<number> {
  const named = await openModel(source, options);
  const mode = modeOf(named, "generate");
  const step = graphOf(named, mode.step);
  const tokenizer = await openTokenizer(step, options);
  const limit = limitOf(mode, named);
  const prompts = options.prompt.map((text) => promptIds(tokenizer, text, mode.begin));
  const longest = Math.max(...prompts.map((ids) => ids.length));
  const maxNewTokens = Math.max(1, Math.min(usualTokens, limit - longest));
  const writing = writingOf(options, { strategy: { kind: "greedy" }, maxNewTokens });
  requireRoom(longest, writing.maxNewTokens, limit, "the prompt");
  const capacity = longest + writing.maxNewTokens;
  return await withWeights(named, step, options, (model) =>
    untilInterrupted(async (signal) => {
      const session = cachedSession(model, step, { rows: rowsOf(writing.strategy), capacity, limit });
      const written: Continued[] = [];
      for (const [i, prompt] of options.prompt.entries()) {
        session.clear();
        const streams = !options.json && writing.strategy.kind !== "beam";
        const onText: AnswerOptions["onText"] = streams ? (text) => write(printable(text)) : undefined;
        if (streams) write(printable(prompt));
        const stops = [tokenizer.eos];
        const stream = textStream(tokenizer, stops, { ...(onText && { onText }), after: prompts[i]! });
        const onToken = (_: number, token: number) => stream.add(token);
        const [made] = await generate(session, { ids: [prompts[i]!] }, { ...writing, eos: stops, signal, onToken });
        for (const token of streams ? [] : made!.tokens) stream.add(token);
        const text = stream.end();
        written.push({ prompt, text, promptTokens: prompts[i]!, ...made! });
        if (!options.json) write(streams ? "\n" : `${printable(prompt + text)}\n`);
        if (signal.aborted) break;
      }
      if (options.json) write(`${json(written)}\n`);
    }),
  );
}

const write = (text: string): void => void process.stdout.write(text);
