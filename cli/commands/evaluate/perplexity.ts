/**
 * Perplexity of a language model: each text separately, in overlapping windows of the model's context length, so that
 * every token but a text's first is scored once, with a long context. Radford et al. 2019, section 3.1.
 */
import { FileError, type Graph, UsageError } from "../../../compiler/index.ts";
import type { RawSample } from "../../../data/index.ts";
import { promptIds, startProgress, type TextWindow, textLosses } from "../../../runtime/index.ts";
import { limitOf } from "../run/decoding.ts";
import { graphOf, modeOf, type NamedModel, withWeights } from "../run/opened-model.ts";
import { openTokenizer } from "../run/tokenizing.ts";
import type { EvaluateOptions, Outcome, Protocol, Results } from "./options.ts";
import { readSamples } from "./samples.ts";

export const perplexity: Protocol = {
  summary: "language modelling of texts: perplexity per token, nats per token, bits per byte",
  takes: ["stride", "language"],
  run: evaluateTexts,
};

async function evaluateTexts(named: NamedModel, options: EvaluateOptions): Promise<Outcome> {
  const mode = modeOf(named, "generate");
  if (mode.encode !== undefined)
    throw new UsageError(`"${named.name}" writes texts from a source text: perplexity is of models of texts alone`);
  const step = graphOf(named, mode.step);
  const tokenizer = await openTokenizer(step, options);
  const limit = limitOf(mode, named);
  const { stride = Math.max(1, limit >> 1) } = options;
  if (stride >= limit)
    throw new UsageError(`--stride must be less than the model's context of ${limit} tokens; got ${stride}`);
  const { samples, skipped } = await readSamples("texts", options);
  const texts = wholeTexts(samples);
  const written = texts.map(({ text }) => promptIds(tokenizer, text, mode.begin));
  const windows = written.flatMap((ids, text) => windowsOf(ids, limit, stride).map((window) => ({ ...window, text })));
  if (windows.length === 0) throw new FileError("no text has two tokens: there is nothing to predict");
  const sums = await scoredTexts(named, step, windows, texts.length, options);
  return {
    samples: texts.length,
    results: { all: measuresOf(sums, texts) },
    asked: { window: limit, stride },
    skipped,
    answers: texts.map(({ name }, i) => ({ name, ...sums[i]!, loss: sums[i]!.loss / Math.max(1, sums[i]!.tokens) })),
  };
}

/** A window of the text of this number. */
interface NumberedWindow extends TextWindow {
  readonly text: number;
}

/** The sum of the losses of a text's tokens, in nats, and their number. */
interface Score {
  loss: number;
  tokens: number;
}

async function scoredTexts(
  named: NamedModel,
  step: Graph,
  windows: readonly NumberedWindow[],
  texts: number,
  options: EvaluateOptions,
): Promise<readonly Score[]> {
  const tokens = Math.max(...windows.map(({ ids }) => ids.length));
  const rows = Math.min(options.batch, windows.length);
  const sums = Array.from({ length: texts }, (): Score => ({ loss: 0, tokens: 0 }));
  await withWeights(named, step, options, async (model) => {
    const session = await textLosses(model, step, { rows, tokens });
    const progress = startProgress({ description: "reading", total: windows.length, unit: "windows" });
    try {
      for (let from = 0; from < windows.length; from += rows) {
        const own = windows.slice(from, from + rows);
        for (const [i, losses] of (await session.of(own)).entries()) {
          const sum = sums[own[i]!.text]!;
          sum.loss += losses.reduce((a, b) => a + b, 0);
          sum.tokens += losses.length;
        }
        progress.update(from + own.length);
      }
    } finally {
      progress.dispose();
      session.dispose();
    }
  });
  return sums;
}

function measuresOf(scores: readonly Score[], texts: readonly Text[]): Results {
  const loss = scores.reduce((sum, score) => sum + score.loss, 0);
  const tokens = scores.reduce((sum, score) => sum + score.tokens, 0);
  if (!Number.isFinite(loss))
    throw new UsageError(`the loss is ${loss}: the weights diverged or belong to another model`);
  const bytes = texts.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0);
  const each = loss / tokens;
  return { perplexity: Math.exp(each), loss: each, bitsPerByte: loss / Math.LN2 / bytes, tokens };
}

interface Text {
  readonly name: string;
  readonly text: string;
}

/** Joins the pieces of long files. */
function wholeTexts(samples: readonly RawSample[]): readonly Text[] {
  const texts: Text[] = [];
  let begun: Text | undefined;
  for (const { name, texts: own, ends = true } of samples) {
    const text = Object.values(own!)[0]![0]!;
    const whole: Text = begun ? { ...begun, text: begun.text + text } : { name, text };
    begun = ends ? undefined : whole;
    if (ends) texts.push(whole);
  }
  return (begun ? [...texts, begun] : texts).filter(({ text }) => text !== "");
}

/**
 * Windows of up to `limit` ids, whose ends are `stride` apart; each scores the tokens that the previous one did not
 * reach.
 */
function windowsOf(ids: readonly number[], limit: number, stride: number): readonly TextWindow[] {
  const windows: TextWindow[] = [];
  for (let done = 1; done < ids.length; ) {
    const end = Math.min(ids.length, done === 1 ? limit : done + stride);
    const begin = Math.max(0, end - limit);
    windows.push({ ids: ids.slice(begin, end), from: done - begin });
    done = end;
  }
  return windows;
}
