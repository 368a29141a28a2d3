/**
 * ResNet: residual blocks of convolutions with batch norm. He et al. 2016, arXiv:1512.03385, section 3 and table 1.
 * Parameter names are torchvision's.
 */
import {
  add,
  axis,
  axisOf,
  batchNorm,
  convolution,
  type FeatureMap,
  linear,
  maxPool,
  mean,
  normal,
  type Params,
  relu,
  type StateUpdate,
  uniform,
} from "../../dsl/index.ts";
import type { PictureConfig, Pixels, Scores } from "../classification.ts";

export interface ResnetConfig extends PictureConfig {
  readonly [key: string]: number | string | boolean | readonly number[];
  /** Channels of the first convolution. */
  readonly stem: number;
  /** Output channels of each stage. */
  readonly widths: readonly number[];
  /** Blocks of each stage. */
  readonly depths: readonly number[];
  /**
   * "basic": two 3 × 3 convolutions; "bottleneck": 1 × 1, 3 × 3, 1 × 1, the first two with a quarter of the channels.
   */
  readonly block: string;
  /** Whether a bottleneck has its stride in the first convolution, as in the paper, or in the 3 × 3 one. */
  readonly halvesFirst: boolean;
  /** Whether the first stage downsamples too. */
  readonly halvesInFirstStage: boolean;
}

type Map = FeatureMap<"batch" | "channel">;

/** Collects the running statistics that a training step updates. */
type Updates = StateUpdate[];

interface Convolved {
  readonly to: number;
  readonly kernel: number;
  readonly stride?: number;
  /** The index of the convolution in its block, as in parameter names. */
  readonly at: number | string;
}

/**
 * A convolution without bias, and a batch norm. Initialized with variance 2 / fan-out: He et al. 2015,
 * arXiv:1502.01852.
 */
function convolved(p: Params, x: Map, { to, kernel, stride = 1, at }: Convolved, updates: Updates): Map {
  const channel = axis("channel", to);
  const init = normal(Math.sqrt(2 / (kernel * kernel * to)));
  const names = typeof at === "number" ? [`conv${at}`, `bn${at}`] : [`${at}.0`, `${at}.1`];
  const y: Map = convolution<"batch" | "channel", "channel", "channel">(
    p.scope(names[0]!),
    x,
    axisOf(x, "channel"),
    channel,
    { kernel, stride, bias: false, init },
  );
  return batchNorm(p.scope(names[1]!), y, channel, { updates });
}

/** The convolutions of a block, the last without an activation. Table 1. */
function branch(c: ResnetConfig, width: number, stride: number): Convolved[] {
  if (c.block === "basic")
    return [
      { at: 1, to: width, kernel: 3, stride },
      { at: 2, to: width, kernel: 3 },
    ];
  const inner = Math.floor(width / 4);
  return [
    { at: 1, to: inner, kernel: 1, stride: c.halvesFirst ? stride : 1 },
    { at: 2, to: inner, kernel: 3, stride: c.halvesFirst ? 1 : stride },
    { at: 3, to: width, kernel: 1 },
  ];
}

/**
 * relu(shortcut(x) + branch(x)); the shortcut is a convolution if the shape changes. Section 3.2, equations 1 and 2.
 */
function block(p: Params, x: Map, c: ResnetConfig, width: number, stride: number, updates: Updates): Map {
  const convolutions = branch(c, width, stride);
  const y = convolutions.reduce((from, each, i) => {
    const made = convolved(p, i === 0 ? from : relu(from), each, updates);
    return made;
  }, x);
  const isChanged = stride !== 1 || axisOf(x, "channel").size !== width;
  const shortcut = isChanged ? convolved(p, x, { at: "downsample", to: width, kernel: 1, stride }, updates) : x;
  return relu(add(y, shortcut));
}

/** The input map of the first stage, and the output of each stage: [batch, row, column, channel]. */
export function resnetMaps(p: Params, pixels: Pixels, c: ResnetConfig, updates: Updates = []): Map[] {
  const stem = relu(convolved(p, pixels, { at: 1, to: c.stem, kernel: 7, stride: 2 }, updates));
  const maps: Map[] = [maxPool<"batch" | "channel">(stem, { kernel: 3, stride: 2, padding: 1 })];
  for (const [stage, width] of c.widths.entries()) {
    let x = maps.at(-1)!;
    for (let i = 0; i < c.depths[stage]!; i++) {
      const halves = i === 0 && (stage > 0 || c.halvesInFirstStage);
      x = block(p.scope(`layer${stage + 1}.${i}`), x, c, width, halves ? 2 : 1, updates);
    }
    maps.push(x);
  }
  return maps;
}

/** pixels [batch, channel, row, column] -> class logits [batch, class] */
export function resnetScores(p: Params, pixels: Pixels, c: ResnetConfig, updates: Updates = []): Scores {
  const last = resnetMaps(p, pixels, c, updates).at(-1)!;
  const channel = axisOf(last, "channel");
  const pooled = mean(last, [axisOf(last, "row"), axisOf(last, "column")]);
  const bound = (channel.size as number) ** -0.5;
  const options = { init: uniform(-bound, bound) };
  return linear<"batch" | "channel", "channel", "class">(
    p.scope("fc"),
    pooled,
    [channel],
    [axis("class", c.classes)],
    options,
  );
}
