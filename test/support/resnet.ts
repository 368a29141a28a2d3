/**
 * ResNet-50 version 1.5 (He et al. 2015, arXiv:1512.03385, table 1; stride in the 3 x 3 convolution), for compiling.
 */
import { bindSizes, type Graph, makeGraph } from "../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  add,
  axis,
  batchNorm,
  constantRate,
  convolution,
  crossEntropy,
  defineStage,
  type FeatureMap,
  input,
  linear,
  maxPool,
  mean,
  type Params,
  relu,
  rootParams,
  type StateUpdate,
  trainingStep,
  typed,
} from "../../dsl/index.ts";

type Map = FeatureMap<"batch" | "channel">;

export interface ResnetSizes {
  readonly batch: number;
  readonly image: number;
  /** Blocks per stage; the first stage has `width` channels, each later one twice as many. */
  readonly blocks: readonly number[];
  readonly width: number;
  readonly classes: number;
}

export const resnet50: ResnetSizes = { batch: 64, image: 224, blocks: [3, 4, 6, 3], width: 64, classes: 1000 };

/** A convolution without bias, followed by batch norm. */
function unit(p: Params, x: Map, width: number, kernel: number, stride: number, updates: StateUpdate[]): Map {
  const [from, to] = [axis("channel", x.type.axes.find((a) => a.name === "channel")!.size), axis("channel", width)];
  const mapped = typed<"batch" | "channel" | "row" | "column">(
    convolution(p.scope("conv"), x as AnyTensor as Map, from, to, { kernel, stride, bias: false }) as AnyTensor,
  );
  return batchNorm(p.scope("bn"), mapped, to, { updates });
}

/** 1 x 1, 3 x 3 with the stride, then 1 x 1 to four times the width; the shortcut is projected where shapes differ. */
export function bottleneck(p: Params, x: Map, width: number, stride: number, updates: StateUpdate[]): Map {
  const one = relu(unit(p.scope("1"), x, width, 1, 1, updates));
  const two = relu(unit(p.scope("2"), one, width, 3, stride, updates));
  const three = unit(p.scope("3"), two, 4 * width, 1, 1, updates);
  const same = x.type.axes.find((a) => a.name === "channel")!.size === 4 * width && stride === 1;
  return relu(add(three, same ? x : unit(p.scope("shortcut"), x, 4 * width, 1, stride, updates)));
}

/** Logits of images. */
export function resnet(p: Params, s: ResnetSizes, updates: StateUpdate[]) {
  const image: Map = input("image", "f32", [
    axis("batch", s.batch),
    axis("row", s.image),
    axis("column", s.image),
    axis("channel", 3),
  ]);
  let x = relu(unit(p.scope("stem"), image, s.width, 7, 2, updates));
  x = maxPool(x, { kernel: 3, stride: 2, padding: 1 });
  s.blocks.forEach((blocks, stage) => {
    for (let i = 0; i < blocks; i++)
      x = bottleneck(p.scope(`stage${stage}.${i}`), x, s.width * 2 ** stage, i === 0 && stage > 0 ? 2 : 1, updates);
  });
  const sides = x.type.axes.filter((a) => a.name === "row" || a.name === "column") as Axis<"row" | "column">[];
  const embed = axis("channel", s.width * 2 ** (s.blocks.length - 1) * 4);
  return linear(p.scope("fc"), mean(x, sides), [embed], [axis("class", s.classes)]);
}

/** Inference, with the running statistics. */
export const resnetForward = (s: ResnetSizes): Graph =>
  makeGraph("resnet", [{ name: "y", node: resnet(rootParams(), s, []) }]);

/** One AdamW step on labelled images. */
export function resnetStep(s: ResnetSizes): Graph {
  const stage = defineStage({
    name: "resnet",
    loss: (p) => {
      const updates: StateUpdate[] = [];
      const scores = resnet(p, s, updates);
      const batch = axis("batch", s.batch);
      const loss = mean(crossEntropy(scores, input("label", "i32", [batch]), axis("class", s.classes)), batch);
      return { loss, updates };
    },
    optimizer: { rate: constantRate(1e-3) },
  });
  return bindSizes(trainingStep(stage).graph, {});
}
