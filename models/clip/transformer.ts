/**
 * The transformer of both towers: pre-norm blocks of attention and an MLP. Radford et al. 2021, arXiv:2103.00020,
 * section 2.4.
 */
import {
  type Activation,
  axis,
  axisOf,
  type Distribution,
  dropPath,
  gelu,
  layerNorm,
  mlp,
  multiHeadAttention,
  type Params,
  quickGelu,
  residual,
  type Tokens,
} from "../../dsl/index.ts";

/** Sizes of a tower's transformer. */
export interface TransformerConfig {
  readonly [key: string]: number | string;
  readonly width: number;
  readonly depth: number;
  readonly heads: number;
  /** Hidden width of the MLP. */
  readonly mlp: number;
  /** "quick_gelu": x·sigmoid(1.702 x), in OpenAI's weights; "gelu": the exact one, in most of OpenCLIP's. */
  readonly activation: string;
  readonly epsilon: number;
}

/** Initializers of a block's weights. */
export interface BlockInit {
  /** For queries, keys and values. */
  readonly project: Distribution;
  readonly out: Distribution;
  readonly fc1: Distribution;
  readonly fc2: Distribution;
}

export const activations: Readonly<Record<string, Activation>> = { quick_gelu: quickGelu, gelu };

export interface TransformerOptions {
  readonly init: BlockInit;
  readonly causal: boolean;
  /** Drop path rate of the last block, rising linearly from 0 over depth. Default 0. */
  readonly drop?: number;
}

/** The states before the first block and after each. x [batch, token, embed] */
export function transformer(
  p: Params,
  x: Tokens,
  c: TransformerConfig,
  { init, causal, drop = 0 }: TransformerOptions,
): Tokens[] {
  const [embed, hidden] = [axisOf(x, "embed"), axis("hidden", c.mlp)];
  const attention = { heads: c.heads, causal, init: init.project, outInit: init.out };
  const inner = { activation: activations[c.activation]!, init: init.fc1, outInit: init.fc2 };
  const states = [x];
  for (let i = 0; i < c.depth; i++) {
    const block = p.scope(i);
    const norm = (name: string) => (y: Tokens) => layerNorm(block.scope(name), y, [embed], c.epsilon);
    const [attn, wide] = [block.scope("attn"), block.scope("mlp")];
    const rate = (drop * i) / Math.max(1, c.depth - 1);
    const kept = (at: Params, y: Tokens): Tokens => dropPath(at, y, axisOf(x, "batch"), rate);
    states.push(
      residual(states[i]!, "pre-norm", [
        { norm: norm("norm1"), of: (y) => kept(attn, multiHeadAttention(attn, y, attention)) },
        { norm: norm("norm2"), of: (y) => kept(wide, mlp(wide, y, embed, hidden, inner)) },
      ]),
    );
  }
  return states;
}
