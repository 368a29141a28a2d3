/** Shared by modes that generate text: the token limit, special tokens, and decoding by default. */
import { UsageError } from "../../../compiler/index.ts";
import type { GenerateMode, WritingGraphs } from "../../../dsl/index.ts";
import { storedLimits, type TextPolicy, textPolicy, type WritingLimits } from "../../../runtime/index.ts";
import { type CheckpointGeneration, checkpointGeneration } from "../../generation-config.ts";
import { type NamedModel, say, storedWeights } from "./opened-model.ts";
import type { RunOptions } from "./options.ts";
import type { OpenedTokenizer } from "./tokenizing.ts";

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
  /** What the checkpoint asks for after `begun` tokens, else `usual`, with the rules of its tokens. */
  limits(usual: WritingLimits, begun: number): WritingLimits;
}

/**
 * The special tokens of a mode: of the generation_config.json beside the weights, field by field, else of the model's
 * record, else of the tokenizer. For encoder-decoders, its search and lengths too. Says on stderr what is not applied.
 */
export async function decodingOf(
  mode: Pick<WritingGraphs<never>, "step"> & Partial<Pick<GenerateMode, "tokens" | "encode">>,
  { config }: NamedModel,
  tokenizer: OpenedTokenizer,
  { weights }: Pick<RunOptions, "weights">,
): Promise<Decoding> {
  const encodes = mode.encode !== undefined;
  const stored = await checkpointGeneration(storedWeights(weights), encodes);
  if (stored) tellUnapplied(stored);
  const policy = textPolicy(tokenizer, mode, config!, stored?.tokens);
  const limits: Decoding["limits"] = (usual, begun) => ({
    ...(stored && encodes ? storedLimits(stored, usual, begun) : usual),
    rules: policy.rules,
  });
  return { ...policy, limits };
}

function tellUnapplied({ path, unapplied }: CheckpointGeneration): void {
  if (unapplied.length > 0)
    say(`note: ${unapplied.join(", ")} of ${path} ${unapplied.length > 1 ? "are" : "is"} not applied`);
}
