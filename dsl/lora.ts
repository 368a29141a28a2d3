/**
 * Low-rank adaptation: the weight W of a linear stays as it is, and α/r · B·A is learned beside it. Hu et al. 2021,
 * arXiv:2106.09685, section 4.1. The product with x goes through the rank, so that no gradient of W's size is ever made.
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
import { chosenBy, unmatched } from "./path-patterns.ts";

export interface LoraOptions {
  /** Path patterns of linears, such as `"**.q_proj"`; `!` takes away. */
  readonly pattern: string | readonly string[];
  /** The width r between A and B. */
  readonly rank: number;
  /** The update is α/r · B·A; default r, a factor of 1. */
  readonly alpha?: number;
}

/** What a linear adds to its product. */
export interface LowRank {
  readonly rank: number;
  /** α/r */
  readonly scale: number;
  /** Told of the product of x with the weight, beside which the update is added. */
  readonly beside: (product: Node) => void;
}

/** The names of a linear's parameters that the update is about. */
export interface Adapter {
  readonly weight: string;
  /** A [rank, from...], which maps down. */
  readonly down: string;
  /** B [to..., rank], which maps up. */
  readonly up: string;
  readonly scale: number;
}

/** Names of A and B beside a linear's `weight`. */
export const [downName, upName] = ["lora_a", "lora_b"];

/** The weight beside which a parameter is learned, or the parameter's own name. */
export const asWeight = (name: string): string => name.replace(/(^|\.)lora_[ab]$/, "$1weight");

/** A is random, as the weights of a linear are; B is 0, so that training begins with the model as it is. */
export const downInit = (fanIn: number): Distribution => normal(fanIn ** -0.5);
export const upInit: Distribution = zeros;

/** Asked by linears while a stage is traced; knows afterwards which of them were adapted. */
export interface Adapters {
  /** What the linear of that path is to add; undefined where it is no pattern's. */
  of(path: string): LowRank | undefined;
  /**
   * What was adapted of a stage with these results. Throws UsageError, naming the stage, for a pattern that matches no linear,
   * patterns that leave none, and a weight that something else reads: merged weights would be other ones there.
   */
  made(stage: string, results: readonly Node[]): readonly Adapter[];
}

/** Throws UsageError, naming the stage, for a rank or an alpha that cannot be. */
export function adaptersOf(stage: string, { pattern, rank, alpha = rank }: LoraOptions): Adapters {
  if (!(Number.isInteger(rank) && rank >= 1))
    throw new UsageError(`stage "${stage}": the rank of lora is ${rank}: it is a whole number from 1 on`);
  if (!(Number.isFinite(alpha) && alpha > 0))
    throw new UsageError(`stage "${stage}": the alpha of lora is ${alpha}: it is a number above 0`);
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
      const wrong = unmatched(patterns, [...linears], "linear");
      if (wrong !== undefined) throw new UsageError(`stage "${stage}": lora: ${wrong}`);
      const chosen = [...linears].filter(isChosen);
      if (chosen.length === 0)
        throw new UsageError(`stage "${stage}": lora: ${patterns.join(", ") || "no pattern"} leaves no linear`);
      const within = (path: string, name: string) => (path === "" ? name : `${path}.${name}`);
      const weights = new Map(chosen.map((path) => [within(path, "weight"), path]));
      for (const reader of topological(results)) {
        const read = products.has(reader) ? [] : reader.operands.filter(isParameter).map(inputName);
        const shared = read.find((name) => weights.has(name));
        if (shared === undefined) continue;
        const by = `${reader.op} at ${printLocation(locationOf(reader.birth))}`;
        throw new UsageError(
          `stage "${stage}": lora: "${shared}" is read by ${by} as well, without the update that it has when it is written: leave it out with "!${weights.get(shared)}"`,
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
