/**
 * ResNet-50 with the stride in the 3×3 convolutions, like PyTorch's. He et al. 2016, arXiv:1512.03385, table 1;
 * position of the stride: Goyal et al. 2017, arXiv:1706.02677, section 5.1.
 */
import {
  type AnyTensor,
  add,
  axis,
  batchNorm,
  constantRate,
  crossEntropy,
  defineModel,
  defineStage,
  input,
  linear,
  mean,
  normal,
  type Params,
  pad,
  reduceMax,
  relu,
  type Stage,
  type StateUpdate,
  type Tensor,
  typed,
  window,
} from "../../dsl/index.ts";
import { adamwSettings } from "./vit.ts";

export interface ResnetConfig {
  readonly [key: string]: number;
  readonly batch: number;
  readonly image: number;
  /** Channels after the stem: 64. */
  readonly channels: number;
  /** Maximum blocks per stage: 6 gives the published 3, 4, 6, 3. */
  readonly blocks: number;
  readonly classes: number;
}

type Maps = Tensor<"batch" | "channel" | "row" | "column">;

export const stagesOf = ({ blocks }: ResnetConfig): number[] => [3, 4, 6, 3].map((n) => Math.min(n, blocks));

/** Sliding windows along rows and columns, padded with `value`. */
function windows(x: AnyTensor, kernel: number, stride: number, value = 0): AnyTensor {
  let y = x;
  for (const side of ["row", "column"] as const) {
    const margin = (kernel - 1) >> 1;
    const along = () => y.type.axes.find((a) => a.name === side) as ReturnType<typeof axis<typeof side>>;
    y = pad(typed<typeof side>(y), along(), margin, margin, value);
    y = window(typed<typeof side>(y), along(), side, axis(`kernel_${side}`, kernel), stride);
  }
  return y;
}

/** A convolution without bias: `weight` [to, kernel_row, kernel_column, from]. */
function convolution(p: Params, x: Maps, to: number, kernel: number, stride: number): Maps {
  const from = axis("channel", x.type.axes.find((a) => a.name === "channel")!.size as number);
  const inside = [axis("kernel_row", kernel), axis("kernel_column", kernel), from];
  const init = normal(Math.sqrt(2 / (kernel * kernel * (from.size as number))));
  const options = { bias: false, init };
  return typed(linear<string, string, string>(p, windows(x, kernel, stride), inside, [axis("channel", to)], options));
}

function unit(p: Params, x: Maps, to: number, kernel: number, stride: number, updates: StateUpdate[]): Maps {
  const mapped = convolution(p.scope("conv"), x, to, kernel, stride);
  return batchNorm(p.scope("bn"), mapped, axis("channel", to), { updates });
}

/** 1×1, 3×3 and 1×1 convolutions with a shortcut, which is a projection where the shape changes. */
function bottleneck(p: Params, x: Maps, inner: number, stride: number, first: boolean, updates: StateUpdate[]): Maps {
  let y = relu(unit(p.scope("1"), x, inner, 1, 1, updates)) as Maps;
  y = relu(unit(p.scope("2"), y, inner, 3, stride, updates)) as Maps;
  y = unit(p.scope("3"), y, 4 * inner, 1, 1, updates);
  const shortcut = first ? unit(p.scope("shortcut"), x, 4 * inner, 1, stride, updates) : x;
  return relu(add(y, shortcut)) as Maps;
}

/** pixels [batch, channel, row, column] -> logits [batch, class] */
function logits(p: Params, c: ResnetConfig, updates: StateUpdate[]): Tensor<"batch" | "class"> {
  const sides = { batch: c.batch, channel: 3, row: c.image, column: c.image } as const;
  const axes = (["batch", "channel", "row", "column"] as const).map((name) => axis(name, sides[name]));
  const pixels = input("pixels", "f32", axes) as Maps;
  let x = relu(unit(p.scope("stem"), pixels, c.channels, 7, 2, updates)) as Maps;
  x = typed(reduceMax(windows(x, 3, 2), ["kernel_row", "kernel_column"])); // after relu, so zero padding never wins
  for (const [stage, blocks] of stagesOf(c).entries())
    for (let i = 0; i < blocks; i++)
      x = bottleneck(
        p.scope(`stages.${stage}.${i}`),
        x,
        c.channels << stage,
        i === 0 && stage > 0 ? 2 : 1,
        i === 0,
        updates,
      );
  const last = x.type.axes.filter((a) => a.name === "row" || a.name === "column") as ReturnType<
    typeof axis<"row" | "column">
  >[];
  const pooled = mean(x, last);
  const channel = axis("channel", 4 * (c.channels << 3));
  return linear(p.scope("head"), pooled, [channel], [axis("class", c.classes)], {
    init: normal((channel.size as number) ** -0.5),
  });
}

export const resnetModel = (c: ResnetConfig) =>
  defineModel({ name: "resnet", summary: "ResNet-50", config: c, build: (p) => ({ logits: logits(p, c, []) }) });

/** One step of AdamW on the mean cross-entropy of a batch; inputs `pixels` and `label`. */
export const resnetStage = (c: ResnetConfig): Stage =>
  defineStage({
    name: "train-resnet",
    loss: (p) => {
      const updates: StateUpdate[] = [];
      const batch = axis("batch", c.batch);
      const rows = crossEntropy(logits(p, c, updates), input("label", "i32", [batch]), axis("class", c.classes));
      return { loss: mean(rows, batch), updates };
    },
    optimizer: { ...adamwSettings, rate: constantRate(adamwSettings.rate) },
  });
