/**
 * Programs that must not compile. `tsc` (part of `npm run check`) fails when one of these lines stops being an error;
 * wrong-axes.test.ts runs it as part of the suite.
 */
import {
  add,
  attention,
  axis,
  contract,
  crossEntropy,
  input,
  layerNorm,
  linear,
  max,
  mean,
  reduceMin,
  rename,
  rootParams,
  softmax,
  split,
  type Tensor,
} from "../../dsl/index.ts";
import { flip } from "../../examples/ops/flip.ts";
import { reduceLogMeanExp } from "../../examples/ops/log-mean-exp.ts";
import { mish } from "../../examples/ops/mish.ts";

const batch = axis("batch", 2);
const token = axis("token", 5);
const key = axis("key_token", 5);
const embed = axis("embed", 8);
const hidden = axis("hidden", 16);
const p = rootParams();
const x = input("x", "f32", [batch, token, embed]);
const weight = input("w", "f32", [embed, hidden]);

export function wrong(): unknown[] {
  return [
    // @ts-expect-error the contracted axis must be in both operands
    contract(x, weight, hidden),
    // @ts-expect-error a reduced axis must be an axis of x
    mean(x, hidden),
    // @ts-expect-error so it must be for a reduction of the registry, which has its type from its kind
    reduceMin(x, hidden),
    // @ts-expect-error and for one that is defined outside the package
    reduceLogMeanExp(x, [token, hidden]),
    // @ts-expect-error a movement defined outside says its axes in its record
    flip(x, hidden),
    // @ts-expect-error softmax runs along an axis of x
    softmax(x, key),
    // @ts-expect-error a renamed axis must be an axis of x
    rename(x, hidden, key),
    // @ts-expect-error a split axis must be an axis of x
    split(x, hidden, [axis("a", 4), axis("b", 4)]),
    // @ts-expect-error linear maps from axes that x has
    linear(p, x, [hidden], [embed]),
    // @ts-expect-error norms run over axes that x has
    layerNorm(p, x, [hidden]),
    // @ts-expect-error the label has every axis of the logits but the class
    crossEntropy(x, input("label", "i32", [batch]), embed),
    // @ts-expect-error the key axis must be in k and v
    attention(x, x, x, { dot: embed, over: key }),
  ];
}

// @ts-expect-error the result still has the token axis
export const missing: Tensor<"batch" | "embed"> = add(x, 1);

// @ts-expect-error the contraction removed embed
export const kept: Tensor<"batch" | "token" | "embed" | "hidden"> = contract(x, weight, embed);

// @ts-expect-error an elementwise op defined outside keeps all axes
export const fewer: Tensor<"batch" | "embed"> = mish(x);

// @ts-expect-error a reduction defined outside drops the axes that it reduces
export const reduced: Tensor<"batch" | "token" | "embed"> = reduceLogMeanExp(x, embed);

/** What is right compiles, with the axes inferred. */
export const logits: Tensor<"batch" | "token" | "key_token"> = contract(x, rename(x, token, key), embed);
export const mapped: Tensor<"batch" | "token" | "hidden"> = linear(p, x, [embed], [hidden]);
export const scalar: Tensor<never> = mean(x, [batch, token, embed]);
export const clipped: Tensor<"batch" | "token"> = crossEntropy(x, max(input("label", "i32", [batch, token]), 0), embed);
export const own: Tensor<"batch"> = reduceLogMeanExp(flip(mish(x), token), [token, embed]);
