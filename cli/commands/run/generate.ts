/** `heddle run ... generate`: continues texts with a language model, or writes texts from source texts. */
import {
  type AnswerOptions,
  begunText,
  cachedSession,
  generate,
  idRow,
  promptIds,
  sourceIds,
  textStream,
  type WritingLimits,
} from "../../../runtime/index.ts";
import { untilInterrupted } from "../../interruption.ts";
import { json } from "../../output.ts";
import { decodingOf, limitOf, requireRoom } from "./decoding.ts";
import { graphOf, modeOf, openModel, withWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import { openTokenizer } from "./tokenizing.ts";
import { printable, rowsOf, type WritingOptions } from "./writing.ts";

export interface GenerateTextOptions extends RunOptions, WritingOptions {
  readonly prompt: readonly string[];
}

/** The JSON of a prompt. */
export interface Continued {
  readonly prompt: string;
  readonly text: string;
  /** Ids of the prompt, or source, and new ones, the end token included. */
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
  const encoder = mode.encode === undefined ? undefined : graphOf(named, mode.encode);
  const limit = limitOf(mode, named);
  const decoding = await decodingOf(mode, named, tokenizer, options);
  const prompts = options.prompt.map((text) =>
    encoder ? sourceIds(tokenizer, text, encoder) : promptIds(tokenizer, text, mode.begin),
  );
  const begun = (prompt: readonly number[]) => (encoder ? [decoding.start()] : prompt);
  const longest = Math.max(...prompts.map((ids) => begun(ids).length));
  const maxNewTokens = Math.max(1, Math.min(usualTokens, limit - longest));
  const usual: WritingLimits = { strategy: { kind: "greedy" }, maxNewTokens };
  const writing = decoding.writing(options, usual, { begun: longest, limit });
  requireRoom(longest, writing.maxNewTokens, limit, encoder ? "the start token" : "the prompt");
  const capacity = longest + writing.maxNewTokens;
  return await withWeights(named, encoder ? [encoder, step] : step, options, (model) =>
    untilInterrupted(async (signal) => {
      const session = cachedSession(model, step, { rows: rowsOf(writing.strategy), capacity, limit });
      const written: Continued[] = [];
      for (const [i, prompt] of options.prompt.entries()) {
        const own = prompts[i]!;
        const start = await begunText(session, encoder, { input_ids: idRow(own) }, begun(own));
        const printed = printer(encoder ? "" : printable(prompt), options.json, writing.strategy.kind === "beam");
        const { eos } = decoding;
        const stream = textStream(tokenizer, eos, { ...printed.live, ...(!encoder && { after: own }) });
        const onToken = (_: number, token: number) => stream.add(token);
        const [made] = await generate(session, start, { ...writing, eos, signal, onToken });
        if (writing.strategy.kind === "beam") for (const token of made!.tokens) stream.add(token);
        const text = stream.end();
        printed.end(text);
        written.push({ prompt, text, promptTokens: own, ...made! });
        if (signal.aborted) break;
      }
      if (options.json) write(`${json(written)}\n`);
    }),
  );
}

/** Prints a text after `begun` as it is written, or at its end if `isLate`, as of beams; nothing if JSON follows. */
function printer(begun: string, isJson: boolean | undefined, isLate: boolean): Printer {
  if (isJson) return { live: {}, end: () => {} };
  if (isLate) return { live: {}, end: (text) => write(`${begun}${printable(text)}\n`) };
  write(begun);
  return { live: { onText: (text) => write(printable(text)) }, end: () => write("\n") };
}

interface Printer {
  readonly live: Pick<AnswerOptions, "onText">;
  end(text: string): void;
}

const write = (text: string): void => void process.stdout.write(text);
