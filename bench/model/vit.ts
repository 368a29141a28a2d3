/**
 * The benchmarked vision transformer: pre-norm blocks, LayerNorm, exact GELU, a class token, learned positions.
 * Dosovitskiy et al. 2021, arXiv:2010.11929, section 3.1.
 */
import {
  type Axis,
  add,
  at,
  attention,
  axis,
  broadcast,
  concat,
  constantRate,
  crossEntropy,
  defineModel,
  defineStage,
  geluMlp,
  imageAxes,
  input,
  layerNorm,
  linear,
  mean,
  normal,
  type Params,
  patchEmbedding,
  rename,
  type Stage,
  symbol,
  type Tensor,
} from "../../dsl/index.ts";

export interface BlockConfig {
  readonly [key: string]: number;
  readonly batch: number;
  /** Tokens per image, including the class token. */
  readonly tokens: number;
  readonly width: number;
  readonly heads: number;
  /** Inner width of the MLP. */
  readonly mlp: number;
}

export interface VitConfig extends BlockConfig {
  readonly depth: number;
  /** Pixels of the square RGB image, and of one square patch. */
  readonly image: number;
  readonly patch: number;
  readonly classes: number;
}

interface BlockAxes {
  readonly batch: Axis<"batch">;
  readonly token: Axis<"token">;
  readonly embed: Axis<"embed">;
  readonly heads: Axis<"heads">;
  readonly headDim: Axis<"head_dim">;
  readonly hidden: Axis<"hidden">;
}

type Tokens = Tensor<"batch" | "token" | "embed">;

const blockAxes = (c: BlockConfig): BlockAxes => ({
  batch: axis("batch", c.batch),
  token: axis("token", c.tokens),
  embed: axis("embed", c.width),
  heads: axis("heads", c.heads),
  headDim: axis("head_dim", c.width / c.heads),
  hidden: axis("hidden", c.mlp),
});

/** Variance 1 / fan-in, so that logits and activations are of order one and any mistake shows in the output. */
const fanIn = (width: number) => ({ init: normal(width ** -0.5) });

function selfAttention(p: Params, x: Tokens, a: BlockAxes, width: number): Tokens {
  const role = axis("qkv", 3);
  const key = axis("key_token", a.token.size); // the token axis in its second role
  const qkv = linear(p.scope("qkv"), x, [a.embed], [role, a.heads, a.headDim], fanIn(width));
  const k = rename(at(qkv, role, 1), a.token, key);
  const v = rename(at(qkv, role, 2), a.token, key);
  const mixed = attention(at(qkv, role, 0), k, v, { dot: a.headDim, over: key });
  return linear(p.scope("proj"), mixed, [a.heads, a.headDim], [a.embed], fanIn(width));
}

/** x [batch, token, embed] -> [batch, token, embed] */
function block(p: Params, x: Tokens, c: BlockConfig, a = blockAxes(c)): Tokens {
  const y = add(x, selfAttention(p.scope("attn"), layerNorm(p.scope("norm1"), x, [a.embed]), a, c.width));
  return add(y, geluMlp(p.scope("mlp"), layerNorm(p.scope("norm2"), y, [a.embed]), a.embed, a.hidden, fanIn(c.width)));
}

/** pixels [batch, channel, row, column] -> logits [batch, class] */
function logits(p: Params, c: VitConfig): Tensor<"batch" | "class"> {
  const a = blockAxes(c);
  const image = imageAxes(c.image);
  const pixels = input("pixels", "f32", [a.batch, image.channel, image.row, image.column]);
  const patches = axis("token", c.tokens - 1);
  const embedded = patchEmbedding<"batch", "embed", "token">(
    p.scope("patch"),
    pixels,
    image,
    c.patch,
    a.embed,
    patches,
  );
  const first = broadcast(p.parameter("class_token", [axis("token", 1), a.embed], normal(0.02)), a.batch);
  let x: Tokens = add(concat([first, embedded], a.token), p.parameter("positions", [a.token, a.embed], normal(0.02)));
  for (let i = 0; i < c.depth; i++) x = block(p.scope(`blocks.${i}`), x, c);
  const out = layerNorm(p.scope("norm"), at(x, a.token, 0), [a.embed]);
  return linear(p.scope("head"), out, [a.embed], [axis("class", c.classes)], fanIn(c.width));
}

/** AdamW settings of all contenders; weight decay applies to tensors with two axes or more, as usual. */
export const adamwSettings = { rate: 3e-4, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weightDecay: 0.05 } as const;

/** One optimizer step on the mean cross-entropy of a batch; inputs `pixels` and `label`. */
export const vitStage = (c: VitConfig): Stage =>
  defineStage({
    name: "train-vit",
    loss: (p) => {
      const { batch } = blockAxes(c);
      const rows = crossEntropy(logits(p, c), input("label", "i32", [batch]), axis("class", c.classes));
      return { loss: mean(rows, batch) };
    },
    optimizer: { ...adamwSettings, rate: constantRate(adamwSettings.rate) },
  });

/** The forward pass alone, for counting operations. */
export const vitModel = (c: VitConfig) =>
  defineModel({ name: "vit", summary: "a small ViT", config: c, build: (p) => ({ logits: logits(p, c) }) });

/** One block from `x` to `y`. */
export const blockModel = (c: BlockConfig, a = blockAxes(c)) =>
  defineModel({
    name: "block",
    summary: "one pre-norm transformer block",
    config: c,
    build: (p) => ({ y: block(p, input("x", "f32", [a.batch, a.token, a.embed]), c, a) }),
  });

/** The same with symbolic batch and number of tokens. */
export const openBlockModel = (c: BlockConfig) =>
  blockModel(c, {
    ...blockAxes(c),
    batch: axis("batch", symbol("batch", { max: 16 })),
    token: axis("token", symbol("tokens", { max: 256 })),
  });
