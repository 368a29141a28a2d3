/**
 * Graphs of a decoder that attends to a source by cross-attention. An encoder graph runs once for each source, a text
 * or an image, and outputs its keys and values for every cross-attention layer, `present.N.encoder.key` and `.value`;
 * the decoder's step takes them as `past_key_values.N.encoder.key` and `.value`, the names that Hugging Face optimum
 * gives them.
 */
import { symbol } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { gt, input, type Tensor, transpose } from "../tensor.ts";
import { axisOf } from "./axes.ts";

/** Keys or values of a source, for the heads of cross-attention. */
export type SourceStates = Tensor<"batch" | "heads" | "source_token" | "head_dim">;

/** Keys and values of a source for one cross-attention layer. */
export interface CrossMemory {
  readonly key: SourceStates;
  readonly value: SourceStates;
}

/** The axes of `crossInputs` and `crossOutputs`; the heads are those of cross-attention. */
export interface CrossAxes {
  readonly batch: Axis<"batch">;
  /** The source's tokens or patches: `sourceTokens()`, or a fixed number. */
  readonly source: Axis<"source_token">;
  readonly heads: Axis<"heads">;
  readonly headDim: Axis<"head_dim">;
}

/** The axis `source_token` of a source of any length, of the symbolic size `source`. */
export const sourceTokens = (): Axis<"source_token"> => axis("source_token", symbol("source"));

/** What a decoder's step attends to by cross-attention. */
export interface CrossInputs {
  /** `past_key_values.N.encoder.key` and `.value` f32 [batch, heads, source_token, head_dim] of each layer. */
  readonly memory: readonly CrossMemory[];
  /** From `encoder_attention_mask` i32 [batch, source_token]: false at a source's padding. Images need not use it. */
  readonly visible: Tensor<"batch" | "source_token">;
}

/** The inputs of a step with `layers` cross-attention layers, beside those of `decoderInputs`. */
export function crossInputs(a: CrossAxes, layers: number): CrossInputs {
  const axes = [a.batch, a.heads, a.source, a.headDim];
  const states = (i: number, what: string) =>
    input(`past_key_values.${i}.encoder.${what}`, "f32", axes) as SourceStates;
  return {
    memory: Array.from({ length: layers }, (_, i) => ({ key: states(i, "key"), value: states(i, "value") })),
    visible: gt(input("encoder_attention_mask", "i32", [a.batch, a.source]), 0),
  };
}

/**
 * The outputs `present.N.encoder.key` and `.value` f32 [batch, heads, source_token, head_dim] of an encoder graph: the
 * keys and values of each cross-attention layer.
 */
export function crossOutputs(
  memory: readonly CrossMemory[],
  a: Omit<CrossAxes, "source">,
): Readonly<Record<string, SourceStates>> {
  const lay = (x: SourceStates) => transpose(x, [a.batch, a.heads, axisOf(x, "source_token"), a.headDim]);
  const named = memory.flatMap(({ key, value }, i) => [
    [`present.${i}.encoder.key`, lay(key)],
    [`present.${i}.encoder.value`, lay(value)],
  ]);
  return Object.fromEntries(named);
}

/** The inputs of an encoder of texts. */
export interface EncoderInputs {
  /** `input_ids` i32 [batch, token] */
  readonly ids: Tensor<"batch" | "token">;
  /** From `attention_mask` i32 [batch, key_token]: false at padding. */
  readonly visible: Tensor<"batch" | "key_token">;
}

/** The inputs of an encoder of texts; a bound of `token` is the longest source that commands accept. */
export function encoderInputs(a: { readonly batch: Axis<"batch">; readonly token: Axis<"token"> }): EncoderInputs {
  const key = axis("key_token", a.token.size);
  return {
    ids: input("input_ids", "i32", [a.batch, a.token]),
    visible: gt(input("attention_mask", "i32", [a.batch, key]), 0),
  };
}
