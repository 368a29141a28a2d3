/**
 * OPT, BLIP-2's language model: a causal decoder like GPT-2 with ReLU, its positions counted from 2. Zhang et al. 2022,
 * arXiv:2205.01068, section 2.1; released code: metaseq.
 */
import {
  add,
  attention,
  axis,
  axisOf,
  contract,
  embedding,
  type LayerMemory,
  layerNorm,
  linear,
  mlp,
  normal,
  type Params,
  relu,
  type Tensor,
  type TokenContext,
  type Tokens,
  transpose,
  withPast,
} from "../../dsl/index.ts";
import type { Gpt2Axes, Gpt2Config } from "../gpt2/index.ts";

/** GPT-2's sizes. */
export type OptConfig = Gpt2Config;

type Ids = Tensor<"batch" | "token">;

const init = { init: normal(0.02) };

/** Rows of the position table before that of the first token. */
const positionsBefore = 2;

/** Token embeddings without positions: ids i32 [batch, token] -> [batch, token, embed] */
export const optWords = (p: Params, ids: Ids, a: Gpt2Axes): Tokens =>
  embedding(p.scope("tokens"), ids, a.vocab, a.embed);

function attend(p: Params, x: Tokens, a: Gpt2Axes, { key, visible }: TokenContext, past?: LayerMemory) {
  const project = (name: string) => linear(p.scope(name), x, [a.embed], [a.heads, a.headDim], init);
  const memory: LayerMemory = {
    key: withPast(project("k"), a.token, key, past?.key),
    value: withPast(project("v"), a.token, key, past?.value),
  };
  const mixed = attention(project("q"), memory.key, memory.value, { dot: a.headDim, over: key }, visible);
  return { mixed: linear(p.scope("out"), mixed, [a.heads, a.headDim], [a.embed], init), memory };
}

/** Adds positions to embeddings and applies all layers and the final norm: x [batch, token, embed] -> the same. */
export function opt(
  p: Params,
  words: Tokens,
  a: Gpt2Axes,
  c: OptConfig,
  context: TokenContext,
  past: readonly LayerMemory[] = [],
): { readonly last: Tokens; readonly memory: readonly LayerMemory[] } {
  const table = axis("position", c.positions + positionsBefore);
  const places = add(context.position as Ids, positionsBefore);
  let x: Tokens = add(words, embedding(p.scope("positions"), places, table, a.embed));
  const memory: LayerMemory[] = [];
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`layers.${i}`);
    const norm = (name: string, y: Tokens) => layerNorm(layer.scope(name), y, [a.embed], c.epsilon);
    const attended = attend(layer.scope("attn"), norm("norm1", x), a, context, past[i]);
    memory.push(attended.memory);
    x = add(x, attended.mixed);
    x = add(x, mlp(layer, norm("norm2", x), a.embed, a.hidden, { activation: relu, ...init }));
  }
  return { last: layerNorm(p.scope("norm"), x, [a.embed], c.epsilon), memory };
}

/** Next-token logits, by the embedding table that `optWords` declared: [batch, token, vocab] */
export function optScores(p: Params, hidden: Tokens, a: Gpt2Axes): Tensor<"batch" | "token" | "vocab"> {
  const table = p.shared().scope("tokens").parameter("weight", [a.vocab, a.embed], init.init);
  return transpose(contract(hidden, table, a.embed), [a.batch, axisOf(hidden, "token"), a.vocab]);
}
