/**
 * Low-rank adaptation (LoRA): a linear's weight W is frozen, and α/r · B·A is trained beside it. Hu et al. 2021,
 * arXiv:2106.09685, section 4.1. x is multiplied by A first, so no gradient of W's size is ever computed.
 */
import {
  type Distribution,
  inputName,
  isParameter,
  locationOf,
  type Node,
  normal,
  printLocation,
  topological,
  UsageError,
  zeros,
} from "../compiler/index.ts";
import { checkOptions } from "./options.ts";
import { chosenBy, unmatched } from "./path-patterns.ts";

/** Which linears train low-rank updates, and of which rank. */
export interface LoraOptions {
  /** Path patterns of linears, such as `"**.q_proj"`; `!` excludes. */
  readonly pattern: string | readonly string[];
  /** The rank r of B·A. */
  readonly rank: number;
  /** The update is α/r · B·A; default α = r, a factor of 1. */
  readonly alpha?: number;
}

/** The low-rank update that a linear adds to its product. */
export interface LowRank {
  readonly rank: number;
  /** α/r */
  readonly scale: number;
  /** Registers the product of x and the weight to which the update is added. */
  readonly beside: (product: Node) => void;
}

/** The parameter names of an adapted linear. */
export interface Adapter {
  readonly weight: string;
  /** A [rank, from...], the down projection. */
  readonly down: string;
  /** B [to..., rank], the up projection. */
  readonly up: string;
  readonly scale: number;
}

/** Names of A and B beside a linear's `weight`. */
export const [downName, upName] = ["lora_a", "lora_b"];

/** Maps the name of A or B to that of the weight they adapt; other names are unchanged. */
export const asWeight = (name: string): string => name.replace(/(^|\.)lora_[ab]$/, "$1weight");

/** A is random like a linear's weights; B is 0, so that training starts from the unchanged model. */
export const downInit = (fanIn: number): Distribution => normal(fanIn ** -0.5);
export const upInit: Distribution = zeros;

const withoutLinears = (patterns: readonly string[]): string =>
  `the pattern "${patterns[0] ?? ""}" matches no linear: the loss calls none. Products of a graph that applyGraph calls are no linears: train their weights with \`trainable\``;

/** Queried by linears while a stage is traced; knows afterwards which were adapted. */
export interface Adapters {
  /** The update of the linear at that path; undefined if no pattern selects it. */
  of(path: string): LowRank | undefined;
  /**
   * The linears adapted in a stage with these results. Throws UsageError, naming the stage, if a pattern matches no
   * linear, if the patterns select none, and if anything else reads an adapted weight: it would see other values once
   * the update is merged.
   */
  made(stage: string, results: readonly Node[]): readonly Adapter[];
}

/** Throws UsageError, naming the stage, for an unknown option and for an invalid rank or alpha. */
export function adaptersOf(stage: string, options: LoraOptions): Adapters {
  checkOptions(`lora of stage "${stage}"`, options, { pattern: true, rank: true, alpha: true });
  const { pattern, rank, alpha = rank } = options;
  if (!(Number.isInteger(rank) && rank >= 1))
    throw new UsageError(`stage "${stage}": the rank of lora must be a positive integer, got ${rank}`);
  if (!(Number.isFinite(alpha) && alpha > 0))
    throw new UsageError(`stage "${stage}": the alpha of lora must be a positive number, got ${alpha}`);
  const patterns = [pattern].flat();
  const isChosen = chosenBy(patterns);
  const linears = new Set<string>();
  const products = new Set<Node>();
  return {
    of: (path) => {
      linears.add(path);
      return isChosen(path)
        ? { rank, scale: alpha / rank, beside: (product) => void products.add(product) }
        : undefined;
    },
    made: (stage, results) => {
      const wrong = linears.size > 0 ? unmatched(patterns, [...linears], "linear") : withoutLinears(patterns);
      if (wrong !== undefined) throw new UsageError(`stage "${stage}": lora: ${wrong}`);
      const chosen = [...linears].filter(isChosen);
      if (chosen.length === 0)
        throw new UsageError(`stage "${stage}": lora: ${patterns.join(", ") || "no pattern"} selects no linear layer`);
      const within = (path: string, name: string) => (path === "" ? name : `${path}.${name}`);
      const weights = new Map(chosen.map((path) => [within(path, "weight"), path]));
      for (const reader of topological(results)) {
        const read = products.has(reader) ? [] : reader.operands.filter(isParameter).map(inputName);
        const shared = read.find((name) => weights.has(name));
        if (shared === undefined) continue;
        const by = `${reader.op} at ${printLocation(locationOf(reader.birth))}`;
        throw new UsageError(
          `stage "${stage}": lora: "${shared}" is also used by ${by}, where the LoRA update would not apply: exclude it with "!${weights.get(shared)}"`,
        );
      }
      return chosen.map((path) => ({
        weight: within(path, "weight"),
        down: within(path, downName),
        up: within(path, upName),
        scale: alpha / rank,
      }));
    },
  };
}
