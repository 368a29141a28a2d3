/**
 * CLIP's ResNet: a stem of three convolutions, average pooling instead of strided convolutions, and attention pooling
 * of the last map. Radford et al. 2021, arXiv:2103.00020, section 2.4; released code model.py, `ModifiedResNet`.
 */
import {
  type AnyTensor,
  type Axis,
  add,
  at,
  attention,
  averagePool,
  axis,
  axisOf,
  batchNorm,
  type ConfigValue,
  concat,
  convolution,
  type FeatureMap,
  linear,
  mean,
  merge,
  normal,
  type Params,
  relu,
  type StateUpdate,
  split,
  UsageError,
  uniform,
  zeros,
} from "../../dsl/index.ts";
import type { TwoTowers } from "./clip.ts";
import type { ClipTextConfig } from "./text.ts";
import type { Picture, Vector } from "./vision.ts";

export interface ClipResNetConfig {
  readonly [key: string]: ConfigValue;
  /** Channels after the stem; the four stages have 4, 8, 16 and 32 times as many. */
  readonly width: number;
  /** Blocks of the four stages. */
  readonly blocks: readonly number[];
  /** Side of the square input, in pixels. */
  readonly image: number;
  /** Heads of the attention pooling. */
  readonly heads: number;
}

/** CLIP with a ResNet instead of the vision transformer. */
export interface ClipResNetModelConfig extends TwoTowers<ClipResNetConfig> {
  readonly [key: string]: number | ClipResNetConfig | ClipTextConfig;
}

type Map = FeatureMap<"batch" | "channel">;

/** Images to vectors, before normalization. */
export function resnetVectors(
  p: Params,
  pixels: Picture,
  c: ClipResNetConfig,
  feature: Axis<"feature">,
  updates: StateUpdate[],
): Vector {
  return pooled(p.scope("attnpool"), resnetMaps(p, pixels, c, updates).at(-1)!, c.heads, feature);
}

/** The maps after the stem and after each stage: [batch, channel, row, column], halved by each stage but the first. */
export function resnetMaps(p: Params, pixels: Picture, c: ClipResNetConfig, updates: StateUpdate[]): Map[] {
  if (c.image % 32 !== 0) throw new UsageError(`image ${c.image} must be a multiple of 32`);
  const layers = convolutions(updates);
  const { width } = c;
  let x: Map = pixels;
  for (const [i, channels] of [width / 2, width / 2, width].entries())
    x = relu(layers(p, `${i + 1}`, x, channels, { kernel: 3, stride: i === 0 ? 2 : 1 }));
  const maps = [averagePool(x, { kernel: 2 })];
  for (const [i, count] of c.blocks.entries())
    maps.push(stage(p.scope(`layers.${i + 1}`), maps[i]!, { layers, count, width: width * 2 ** i, halve: i > 0 }));
  return maps;
}

type Convolutions = ReturnType<typeof convolutions>;

/** A convolution without bias, and its batch norm: `conv1` and `bn1` for "1". */
const convolutions =
  (updates: StateUpdate[]) =>
  (
    p: Params,
    number: string,
    x: Map,
    channels: number,
    {
      kernel,
      stride = 1,
      last = false,
    }: { readonly kernel: number; readonly stride?: number; readonly last?: boolean },
  ): Map => {
    const [from, to] = [axisOf(x, "channel"), axis("channel", channels)];
    const bound = ((from.size as number) * kernel ** 2) ** -0.5;
    const made: Map = convolution<"batch" | "channel", "channel", "channel">(p.scope(`conv${number}`), x, from, to, {
      ...{ kernel, stride, bias: false, init: uniform(-bound, bound) },
    });
    return batchNorm(p.scope(`bn${number}`), made, to, { updates, ...(last && { init: zeros }) });
  };

interface Stage {
  readonly layers: Convolutions;
  readonly count: number;
  readonly width: number;
  readonly halve: boolean;
}

function stage(p: Params, x: Map, { layers, count, width, halve }: Stage): Map {
  let y = x;
  for (let j = 0; j < count; j++) {
    const [block, halves] = [p.scope(j), halve && j === 0];
    const smaller = (map: Map): Map => (halves ? averagePool(map, { kernel: 2 }) : map);
    const narrow = relu(layers(block, "1", y, width, { kernel: 1 }));
    const mixed = relu(layers(block, "2", narrow, width, { kernel: 3 }));
    const branch = layers(block, "3", smaller(mixed), 4 * width, { kernel: 1, last: true });
    const side = block.scope("side");
    y = relu(add(j === 0 ? layers(side, "", smaller(y), 4 * width, { kernel: 1 }) : y, branch));
  }
  return y;
}

/**
 * Attention pooling: the mean attends to all positions and itself, each with its position embedding. -> [batch,
 * feature]
 */
function pooled(p: Params, map: Map, headCount: number, feature: Axis<"feature">): Vector {
  const [row, column, embed] = [axisOf(map, "row"), axisOf(map, "column"), axisOf(map, "channel")];
  const [count, width] = [(row.size as number) * (column.size as number), embed.size as number];
  if (width % headCount !== 0) throw new UsageError(`${width} channels are not divisible by ${headCount} heads`);
  const key = axis("key_token", count + 1);
  const init = normal(width ** -0.5);
  const first: AnyTensor = split(mean(map, [row, column]), embed, [axis("key_token", 1), embed]);
  const places: AnyTensor = merge(map, [row, column], axis("key_token", count));
  const seen: AnyTensor = add(concat([first, places], key), p.parameter("positions", [key, embed], init));
  const [heads, each] = [axis("heads", headCount), axis("head_dim", width / headCount)];
  const project = (name: string, x: AnyTensor): AnyTensor => linear(p.scope(name), x, [embed], [heads, each], { init });
  const query = project("q", at(seen, key, 0));
  const mixed = attention(query, project("k", seen), project("v", seen), { dot: each, over: key });
  return linear<string, string, string>(p.scope("out"), mixed as AnyTensor, [heads, each], [feature], {
    init,
  }) as Vector;
}
