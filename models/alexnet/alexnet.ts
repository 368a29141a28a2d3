/**
 * AlexNet as in torchvision: one tower. Krizhevsky 2014, arXiv:1404.5997, section 4 ("one weird trick"); otherwise
 * Krizhevsky et al. 2012. Parameter names are torchvision's.
 */
import {
  adaptiveAverage,
  axis,
  axisOf,
  convolution,
  dropout,
  type FeatureMap,
  linear,
  maxPool,
  type Params,
  relu,
  resize,
  type Tensor,
  UsageError,
  uniform,
} from "../../dsl/index.ts";
import type { PictureConfig, Pixels, Scores } from "../classification.ts";

export interface AlexnetConfig extends PictureConfig {
  readonly [key: string]: number | readonly number[];
  /** Channels of the five convolutions. */
  readonly widths: readonly number[];
  /** Width of the two hidden layers of the classifier. */
  readonly hidden: number;
  readonly dropout: number;
}

type Map = FeatureMap<"batch" | "channel">;

/**
 * Kernel, stride and padding of each convolution, its index among torchvision's layers, and whether pooling follows.
 */
const convolutions = [
  { at: 0, kernel: 11, stride: 4, padding: 2, pools: true },
  { at: 3, kernel: 5, stride: 1, padding: 2, pools: true },
  { at: 6, kernel: 3, stride: 1, padding: 1, pools: false },
  { at: 8, kernel: 3, stride: 1, padding: 1, pools: false },
  { at: 10, kernel: 3, stride: 1, padding: 1, pools: true },
] as const;

/** Rows and columns of the classifier's input, whatever the image's size. */
const grid = 6;

/** PyTorch's default initializer: uniform within 1 / √fan-in. */
const bounded = (fanIn: number) => ({ init: uniform(-(fanIn ** -0.5), fanIn ** -0.5) });

/** The pixels and the map after each convolution, with its pooling: [batch, row, column, channel]. */
export function alexnetMaps(p: Params, pixels: Pixels, c: AlexnetConfig): Map[] {
  // Below 63 pixels the last pooling has no window.
  if (c.image < 63) throw new UsageError(`image ${c.image} is too small for AlexNet: it must be at least 63 pixels`);
  const maps: Map[] = [pixels];
  for (const [i, { at, pools, ...window }] of convolutions.entries()) {
    const x = maps[i]!;
    const from = axisOf(x, "channel");
    const options = { ...window, ...bounded(window.kernel ** 2 * (from.size as number)) };
    const y = relu(
      convolution<"batch" | "channel", "channel", "channel">(
        p.scope(`features.${at}`),
        x,
        from,
        axis("channel", c.widths[i]!),
        options,
      ),
    );
    maps.push(pools ? maxPool<"batch" | "channel">(y, { kernel: 3, stride: 2 }) : y);
  }
  return maps;
}

/** pixels [batch, channel, row, column] -> class logits [batch, class] */
export function alexnetScores(p: Params, pixels: Pixels, c: AlexnetConfig): Scores {
  const last = alexnetMaps(p, pixels, c).at(-1)!;
  const { batch, channel } = { batch: axisOf(last, "batch"), channel: axisOf(last, "channel") };
  const isSquared = axisOf(last, "row").size === grid; // as for 224 pixels
  const map: Map = isSquared ? last : resize<"batch" | "channel">(last, grid, grid, adaptiveAverage);
  const [row, column, hidden] = [axisOf(map, "row"), axisOf(map, "column"), axis("hidden", c.hidden)];
  const q = p.scope("classifier");
  const from = bounded((channel.size as number) * grid * grid);
  const seen = dropout(q.scope(0), map, [batch, channel, row, column], c.dropout);
  const first: Tensor<"batch" | "hidden"> = relu(linear(q.scope(1), seen, [channel, row, column], [hidden], from));
  const inner = dropout(q.scope(3), first, [batch, hidden], c.dropout);
  const second: Tensor<"batch" | "hidden"> = relu(linear(q.scope(4), inner, [hidden], [hidden], bounded(c.hidden)));
  return linear<"batch" | "hidden", "hidden", "class">(
    q.scope(6),
    second,
    [hidden],
    [axis("class", c.classes)],
    bounded(c.hidden),
  );
}
