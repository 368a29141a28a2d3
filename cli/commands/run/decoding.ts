/** Shared by modes that generate text: the token limit, special tokens, and decoding by default. */
import { UsageError } from "../../../compiler/index.ts";
import type { GenerateMode, WritingGraphs } from "../../../dsl/index.ts";
import {
  type Strategy,
  storedLimits,
  storedStrategy,
  type TextPolicy,
  type TextRoom,
  textPolicy,
  type WritingLimits,
} from "../../../runtime/index.ts";
import { type CheckpointGeneration, checkpointGeneration } from "../../generation-config.ts";
import { type NamedModel, say, storedWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import type { OpenedTokenizer } from "./tokenizing.ts";
import { type WritingOptions, writingOf } from "./writing.ts";

/** Maximum tokens of a text of the model. */
export const limitOf = ({ limit }: Pick<GenerateMode, "limit">, { config }: Pick<NamedModel, "config">): number =>
  typeof limit === "number" ? limit : limit(config!);

/** Throws UsageError if the prompt and the new tokens exceed the model's limit. */
export function requireRoom(begun: number, maxNewTokens: number, limit: number, what: string): void {
  if (begun + maxNewTokens <= limit) return;
  throw new UsageError(
    `${what} and --max-tokens need ${begun + maxNewTokens} tokens; the model takes at most ${limit}`,
  );
}

/** Special tokens of a model's texts, and its decoding where the command does not say. */
export interface Decoding extends TextPolicy {
  /**
   * What the options ask for, else the checkpoint, else `usual`. Says on stderr which of the checkpoint's fields are
   * not applied. A conversation has no `room`: it streams, without beams, and lengths that count its questions are
   * ignored.
   */
  writing(options: WritingOptions, usual: WritingLimits, room?: Omit<TextRoom, "encodes">): WritingLimits;
}

/**
 * The special tokens of a mode: of the generation_config.json beside the weights, field by field, else of the model's
 * record, else of the tokenizer; and how texts are written.
 */
export async function decodingOf(
  mode: Pick<WritingGraphs<never>, "step"> & Partial<Pick<GenerateMode, "tokens" | "encode">>,
  { config }: NamedModel,
  tokenizer: OpenedTokenizer,
  { weights }: Pick<RunOptions, "weights">,
): Promise<Decoding> {
  const encodes = mode.encode !== undefined;
  const stored = await checkpointGeneration(storedWeights(weights), encodes);
  const policy = textPolicy(tokenizer, mode, config!, stored?.tokens);
  const writing: Decoding["writing"] = (options, usual, room) => {
    const own = { ...usual, rules: policy.rules };
    if (!stored) return writingOf(options, own);
    const { minLength: _, maxLength: __, beams: ___, ...withoutLengths } = stored;
    const limits = room
      ? storedLimits(stored, own, { ...room, encodes })
      : storedLimits({ ...withoutLengths, beams: undefined }, own, { begun: 0, limit: Infinity, encodes });
    const made = writingOf(options, limits, (strategy) =>
      strategy === limits.strategy ? strategy : storedStrategy(stored, strategy),
    );
    tellUnapplied(stored, made.strategy, room !== undefined);
    if (stored.samples && made.strategy === limits.strategy && !options.greedy)
      say(`note: do_sample of ${stored.path} is not applied, so that a run can be repeated; --sample applies it`);
    return made;
  };
  return { ...policy, writing };
}

function tellUnapplied(stored: CheckpointGeneration, { kind }: Strategy, searches: boolean): void {
  const { path, unapplied, unappliedInSampling, beams } = stored;
  const ofKind = kind === "sample" ? unappliedInSampling : !searches && beams ? ["num_beams"] : [];
  const fields = [...unapplied, ...ofKind];
  if (fields.length > 0) say(`note: ${fields.join(", ")} of ${path} ${fields.length > 1 ? "are" : "is"} not applied`);
}
