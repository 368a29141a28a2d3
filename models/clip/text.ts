/** CLIP's text tower: a causal transformer, so that the last token has attended to all. */
import {
  type Axis,
  add,
  argmax,
  axis,
  axisOf,
  cast,
  embedding,
  eq,
  gather,
  input,
  layerNorm,
  linear,
  normal,
  type Params,
  type Tensor,
  type Tokens,
} from "../../dsl/index.ts";
import { type BlockInit, type TransformerConfig, transformer } from "./transformer.ts";
import type { Vector } from "./vision.ts";

export interface ClipTextConfig extends TransformerConfig {
  readonly vocab: number;
  /** Positions, to which texts are padded. */
  readonly context: number;
  /** The EOS id; 0 takes the largest id of each text, as in OpenAI's code, where EOS is the last of the vocabulary. */
  readonly eos: number;
}

export type Ids = Tensor<"batch" | "token">;

/** Token ids i32 [batch, token]; ids after EOS are ignored. */
export const texts = ({ context }: ClipTextConfig): Ids =>
  input("ids", "i32", [axis("batch", "batch"), axis("token", context)]);

/** Radford et al. 2021, released code model.py, `initialize_parameters`. */
function blockInit({ width, depth }: ClipTextConfig): BlockInit {
  const ending = normal((2 * depth * width) ** -0.5);
  return { project: normal(width ** -0.5), out: ending, fc1: normal((2 * width) ** -0.5), fc2: ending };
}

/** Texts to vectors, before normalization: the state at the first EOS. */
export function textVectors(p: Params, ids: Ids, c: ClipTextConfig, feature: Axis<"feature">): Vector {
  const [token, embed] = [axisOf(ids, "token"), axis("embed", c.width)];
  const words: Tokens = embedding(p.scope("tokens"), ids, axis("vocab", c.vocab), embed);
  const placed: Tokens = add(words, p.parameter("positions", [token, embed], normal(0.01)));
  const last = transformer(p.scope("blocks"), placed, c, { init: blockInit(c), causal: true }).at(-1)!;
  const end = argmax(c.eos === 0 ? ids : cast(eq(ids, c.eos), "i32"), token);
  const said = layerNorm(p.scope("norm"), gather(last, end, token), [embed], c.epsilon);
  return linear(p.scope("projection"), said, [embed], [feature], { bias: false, init: normal(c.width ** -0.5) });
}
