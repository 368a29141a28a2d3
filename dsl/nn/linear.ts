/** Affine maps over any axes. */
import { type Distribution, truncatedNormal, zeros } from "../../compiler/index.ts";
import { type Axis, axis } from "../axis.ts";
import { downInit, downName, type LowRank, upInit, upName } from "../lora.ts";
import { checkOptions } from "../options.ts";
import type { Params } from "../params.ts";
import { type AnyTensor, add, contract, rename, scale, type Tensor, typed } from "../tensor.ts";

/** Options of `linear` and of the layers built on it. */
export interface LinearOptions {
  /** False leaves the bias out. */
  readonly bias?: boolean;
  readonly init?: Distribution;
}

/**
 * The usual initial distribution of a weight. It keeps the activations' variance at any width: std 1/sqrt(fan-in),
 * LeCun et al. 1998, section 4.6. At the widths of the published models this is close to the customary 0.02.
 */
export const fanIn = (from: readonly Axis[]): Distribution => truncatedNormal(widthOf(from) ** -0.5);

const widthOf = (axes: readonly Axis[]): number => axes.reduce((n, a) => n * (a.size as number), 1);

/**
 * W·x + b from the axes `from` to the axes `to`; parameters `weight` [to..., from...] and `bias` [to...]. x [...,
 * from...] -> [..., to...]. An axis may be in both lists, if it has the same size before and after; of the parameters'
 * axes, the one in `to` is then called as `embed_out`, which is its name in a checkpoint's layout.
 */
export function linear<A extends string, F extends A, T extends string>(
  p: Params,
  x: Tensor<A>,
  from: readonly Axis<F>[],
  to: readonly Axis<T>[],
  options: LinearOptions = {},
): Tensor<Exclude<A, F> | T> {
  checkOptions("linear", options, { bias: true, init: true });
  const fresh = to.map(
    (t) => ([...x.type.axes, ...from].some((a) => a.name === t.name) ? axis(`${t.name}_out`, t.size) : t) as Axis<T>,
  );
  const axes: readonly Axis[] = [...fresh, ...from];
  const weight: AnyTensor = p.parameter("weight", axes, options.init ?? fanIn(from));
  let y: AnyTensor = contract(x, weight, from);
  const adapter = p.adapter();
  if (adapter) {
    adapter.beside(y);
    y = add(y, lowRank(p, x, from, fresh, adapter));
  }
  if (options.bias !== false) y = add(y, p.parameter("bias", fresh, zeros));
  fresh.forEach((f, i) => {
    y = rename(y, f, to[i]!);
  });
  return typed(y);
}

/** α/r · B·(A·x). Parameters `lora_a` [lora_rank, from...] and `lora_b` [to..., lora_rank]. */
function lowRank(p: Params, x: AnyTensor, from: readonly Axis[], to: readonly Axis[], by: LowRank): AnyTensor {
  const rank = axis("lora_rank", by.rank);
  const down: AnyTensor = p.parameter(downName, [rank as Axis, ...from], downInit(widthOf(from)));
  const up: AnyTensor = p.parameter(upName, [...to, rank as Axis], upInit);
  return scale(contract(contract(x, down, from), up, [rank]), by.scale);
}
