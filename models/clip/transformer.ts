/** The transformer of both towers: pre-norm blocks of attention and an MLP. Radford et al. 2021, arXiv:2103.00020, section 2.4. */
import {
  type Activation,
  axis,
  axisOf,
  type Distribution,
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
  /** Inner width of the MLP. */
  readonly mlp: number;
  /** "quick_gelu": x·sigmoid(1.702 x), of OpenAI's weights; "gelu": the exact one, of most of OpenCLIP's. */
  readonly activation: string;
  readonly epsilon: number;
}

/** How the weights of a block begin. */
export interface BlockInit {
  /** Of queries, keys and values. */
  readonly project: Distribution;
  readonly out: Distribution;
  readonly fc1: Distribution;
  readonly fc2: Distribution;
}

export const activations: Readonly<Record<string, Activation>> = { quick_gelu: quickGelu, gelu };

/** The states before the first block and after each. x [batch, token, embed] */
export function transformer(
  p: Params,
  x: Tokens,
  c: TransformerConfig,
  { init, causal }: { readonly init: BlockInit; readonly causal: boolean },
): Tokens[] {
  const [embed, hidden] = [axisOf(x, "embed"), axis("hidden", c.mlp)];
  const attention = { heads: c.heads, causal, init: init.project, outInit: init.out };
  const inner = { activation: activations[c.activation]!, init: init.fc1, outInit: init.fc2 };
  const states = [x];
  for (let i = 0; i < c.depth; i++) {
    const block = p.scope(i);
    const norm = (name: string) => (y: Tokens) => layerNorm(block.scope(name), y, [embed], c.epsilon);
    states.push(
      residual(states[i]!, "pre-norm", [
        { norm: norm("norm1"), of: (y) => multiHeadAttention(block.scope("attn"), y, attention) },
        { norm: norm("norm2"), of: (y) => mlp(block.scope("mlp"), y, embed, hidden, inner) },
      ]),
    );
  }
  return states;
}
