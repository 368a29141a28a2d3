/**
 * BLIP-2's Q-Former: learned queries that cross-attend to an image, in a BERT that also reads text. Li et al. 2023,
 * arXiv:2301.12597, section 3.1; released code: LAVIS, Qformer.py. The image's features are inputs: its encoder is
 * frozen.
 */
import {
  type AnyTensor,
  add,
  and,
  at,
  axis,
  axisOf,
  broadcast,
  cast,
  concat,
  contract,
  embedding,
  eq,
  gelu,
  gt,
  input,
  iota,
  l2Normalize,
  layerNorm,
  le,
  linear,
  longer,
  lt,
  mean,
  mlp,
  multiHeadAttention,
  ne,
  normal,
  or,
  type Params,
  pad,
  rename,
  residual,
  select,
  slice,
  type Tensor,
  type Tokens,
  transpose,
  zeros,
} from "../../dsl/index.ts";

/** Settings of the queries. */
export interface QueriesConfig {
  readonly [key: string]: number;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  readonly mlp: number;
  readonly queries: number;
  /** Queries attend to the image in every `crossEvery`-th layer, starting with the first. */
  readonly crossEvery: number;
  readonly epsilon: number;
}

export interface QformerConfig extends QueriesConfig {
  /** The last id, [DEC], begins a generated text. */
  readonly vocab: number;
  /** Maximum positions of tokens. */
  readonly positions: number;
  /** Tokens of a text, padding included. */
  readonly context: number;
  /** The number of image tokens, class token included. */
  readonly visionTokens: number;
  readonly visionWidth: number;
  readonly visionEpsilon: number;
  /** Width of the joint embedding space. */
  readonly embed: number;
}

/** For EVA's ViT-g at 224 pixels without its last block. */
export const blip2Qformer: QformerConfig = {
  width: 768,
  depth: 12,
  heads: 12,
  mlp: 3072,
  vocab: 30523,
  positions: 512,
  context: 32,
  queries: 32,
  crossEvery: 2,
  epsilon: 1e-12,
  visionTokens: 257,
  visionWidth: 1408,
  visionEpsilon: 1e-5,
  embed: 256,
};

export type Ids = Tensor<"batch" | "token">;
export type Feature = Tensor<"batch" | "feature">;

const batch = axis("batch", "batch");
const init = { init: normal(0.02) };

/** The frozen encoder's image features: f32 [batch, token, embed] */
export const visionInput = (c: QformerConfig): Tokens =>
  input("vision", "f32", [batch, axis("token", c.visionTokens), axis("embed", c.visionWidth)]);

/** Texts: [CLS] first, [SEP] last, 0 for padding; i32 [batch, token] */
export const textInput = (c: QformerConfig): Ids => input("ids", "i32", [batch, axis("token", c.context)]);

/** Normalized features, as all passes take them. */
export const normedVision = (p: Params, vision: Tokens, c: QformerConfig): Tokens =>
  layerNorm(p.scope("ln_vision"), vision, [axisOf(vision, "embed")], c.visionEpsilon);

/** The inputs of a pass; queries attend to the image. */
interface Pass {
  readonly queries?: Tokens;
  readonly text?: Tokens;
  readonly vision?: Tokens;
  /** Default no mask. */
  readonly visible?: AnyTensor;
}

/** All layers over queries, text, or queries followed by text: self-attention weights are shared, the MLPs are not. */
function passOver(p: Params, { queries, text, vision, visible }: Pass, c: QueriesConfig): Tokens {
  const [embed, hidden] = [axis("embed", c.width), axis("hidden", c.mlp)];
  const norm = (at: Params) => (x: Tokens) => layerNorm(at, x, [embed], c.epsilon);
  const both = [queries, text].filter((x) => x !== undefined);
  const sizes = both.map((x) => axisOf(x, "token").size);
  let x: Tokens = norm(p.scope("embeddings.norm"))(joined(both));
  for (let i = 0; i < c.depth; i++) {
    const layer = p.scope(`layer.${i}`);
    const attend = (name: string, more: { readonly seen?: Tokens; readonly visible?: AnyTensor }) => ({
      norm: norm(layer.scope(`${name}_norm`)),
      of: (y: Tokens) => multiHeadAttention(layer.scope(name), y, { heads: c.heads, ...init, ...more }),
    });
    const feed = (name: string) => ({
      norm: norm(layer.scope(`${name}_norm`)),
      of: (y: Tokens) => mlp(layer.scope(name), y, embed, hidden, init),
    });
    const seen = residual(x, "post-norm", [attend("self", visible ? { visible } : {})]);
    const [first, second] = apart(seen, sizes);
    const cross = vision && i % c.crossEvery === 0 ? [attend("cross", { seen: vision })] : [];
    const parts = [
      ...(queries ? [residual(first!, "post-norm", [...cross, feed("query")])] : []),
      ...(text ? [residual(queries ? second! : first!, "post-norm", [feed("text")])] : []),
    ];
    x = joined(parts);
  }
  return x;
}

const joined = (parts: readonly Tokens[]): Tokens =>
  parts.length === 1 ? parts[0]! : concat(parts, axisOf(parts[0]!, "token"));

/** Splits a pass into queries and text. */
function apart(x: Tokens, sizes: readonly Tokens["type"]["axes"][number]["size"][]): Tokens[] {
  if (sizes.length === 1) return [x];
  const [queries, text] = sizes as [number, number];
  const token = axisOf(x, "token");
  return [slice(x, token, 0, queries), slice(x, token, queries, text)];
}

const learnedQueries = (p: Params, c: QueriesConfig): Tokens =>
  broadcast(p.parameter("query_tokens", [axis("token", c.queries), axis("embed", c.width)], normal(0.02)), batch);

/** Token and position embeddings; positions count from 0 even after queries. */
function embedded(p: Params, ids: Ids, c: QformerConfig): Tokens {
  const [token, embed] = [axisOf(ids, "token"), axis("embed", c.width)];
  const words = embedding(p.scope("embeddings.word"), ids, axis("vocab", c.vocab), embed);
  return add(words, embedding(p.scope("embeddings.position"), iota(token), axis("position", c.positions), embed));
}

/** The queries after attending to an image: [batch, token, embed] */
export const askedQueries = (p: Params, vision: Tokens, c: QueriesConfig): Tokens =>
  passOver(p, { queries: learnedQueries(p, c), vision }, c);

const keysOf = (ids: Ids, more = 0) => {
  const token = longer(axisOf(ids, "token"), more);
  return { token, key: axis("key_token", token.size) };
};

/** The embedding of a text: unit vectors of its first token, [batch, feature] */
export function textFeature(p: Params, ids: Ids, c: QformerConfig): Feature {
  const { token, key } = keysOf(ids);
  const read = passOver(p, { text: embedded(p, ids, c), visible: rename(ne(ids, 0), token, key) }, c);
  return compared(p.scope("text_proj"), at(read, token, 0), c);
}

const compared = <A extends string>(p: Params, x: Tensor<A | "embed">, c: QformerConfig) => {
  const feature = axis("feature", c.embed);
  const projected: AnyTensor = linear(p, x as AnyTensor, [axis("embed", c.width)], [feature], init);
  return l2Normalize(projected, feature) as Tensor<Exclude<A, "embed"> | "feature">;
};

/** Unit vectors of all queries: [batch, token, feature] */
export const queryFeatures = (p: Params, queries: Tokens, c: QformerConfig): Tensor<"batch" | "token" | "feature"> =>
  compared<"batch" | "token">(p.scope("vision_proj"), queries, c) as Tensor<"batch" | "token" | "feature">;

/** True for keys that are not padding: bool [batch, key_token] */
function realKeys(ids: Ids, c: QformerConfig): Tensor<"batch" | "key_token"> {
  const { token, key } = keysOf(ids, c.queries);
  const words = cast(ne(ids, 0), "i32");
  return gt(rename(pad(words, axisOf(ids, "token"), c.queries, 0, 1), token, key), 0);
}

export const verdict = axis("match", 2);

/** Whether a text matches the image: queries and text attend to each other. Logits [batch, match]; 1 is yes. */
export function matching(p: Params, vision: Tokens, ids: Ids, c: QformerConfig): Tensor<"batch" | "match"> {
  const [queries, text] = [learnedQueries(p, c), embedded(p, ids, c)];
  const made = passOver(p, { queries, text, vision, visible: realKeys(ids, c) }, c);
  const [asked] = apart(made, [c.queries, axisOf(ids, "token").size]);
  const scores = linear(p.scope("itm_head"), asked!, [axis("embed", c.width)], [verdict], init);
  return transpose(mean(scores, axisOf(asked!, "token")), [batch, verdict]);
}

export interface Written {
  /** As `askedQueries` returns them: they attend to no text. */
  readonly queries: Tokens;
  /** Next-token logits: [batch, token, vocab] */
  readonly logits: Tensor<"batch" | "token" | "vocab">;
}

/** Text generation from an image: text attends to the queries and to earlier text. [DEC] replaces the first id. */
export function written(p: Params, vision: Tokens, ids: Ids, c: QformerConfig): Written {
  const { token, key } = keysOf(ids, c.queries);
  const begun: Ids = select(eq(iota(axisOf(ids, "token")), 0), c.vocab - 1, ids);
  const [place, other] = [iota(token), iota(key)];
  const visible = and(or(lt(other, c.queries), le(other, place)), realKeys(ids, c)); // queries come first, without text
  const made = passOver(p, { queries: learnedQueries(p, c), text: embedded(p, begun, c), vision, visible }, c);
  const [queries, words] = apart(made, [c.queries, axisOf(ids, "token").size]);
  return { queries: queries!, logits: wordScores(p, words!, c) };
}

/** BERT's head: its output matrix is the embedding table. */
function wordScores(p: Params, words: Tokens, c: QformerConfig): Tensor<"batch" | "token" | "vocab"> {
  const [head, embed, vocab] = [p.scope("head"), axis("embed", c.width), axis("vocab", c.vocab)];
  const inner: Tokens = gelu(linear(head.scope("dense"), words, [embed], [embed], init));
  const normed = layerNorm(head.scope("norm"), inner, [embed], c.epsilon);
  const table = p.shared().scope("embeddings.word").parameter("weight", [vocab, embed], normal(0.02));
  const scores = add(contract(normed, table, embed), head.parameter("bias", [vocab], zeros));
  return transpose(scores, [batch, axisOf(words, "token"), vocab]);
}
