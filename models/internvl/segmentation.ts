/**
 * Segmentation on top of InternViT: a linear head, and UperNet over a pyramid of four blocks. Chen et al. 2023,
 * arXiv:2312.14238, section 4.2 and tables 22, 23; Xiao et al. 2018, arXiv:1807.10221 (UperNet); released code and
 * MMSegmentation: segmentation/.
 */
import {
  type Axis,
  adaptiveAverage,
  add,
  axis,
  axisOf,
  batchNorm,
  bilinear,
  cast,
  concat,
  convolution,
  crossEntropy,
  dropout,
  type FeatureMap,
  gelu,
  input,
  layerNorm,
  longer,
  maxPool2x2,
  mean,
  mul,
  ne,
  normal,
  type Params,
  relu,
  resize,
  type StateUpdate,
  scale,
  select,
  slice,
  split,
  type Tensor,
  transposedConvolution,
  UsageError,
} from "../../dsl/index.ts";
import {
  internvit,
  internvit6b,
  type Pixels,
  pixelsInput,
  stateAt,
  type VisionConfig,
  type VisionTokens,
} from "./internvit.ts";

export interface SegmentationConfig {
  readonly [key: string]: number | string | VisionConfig | readonly number[];
  readonly vision: VisionConfig;
  readonly classes: number;
  /** The blocks, from 1, whose maps are used: one for the linear head, four for UperNet. */
  readonly blocks: readonly number[];
  /** Width of UperNet; 0 for the linear head. */
  readonly channels: number;
  /** Index, from 0, of the map that the auxiliary head reads. */
  readonly auxiliary: number;
  readonly dropout: number;
}

/** At 504 pixels, with positions of that grid. */
const at504: VisionConfig = { ...internvit6b, image: 504 };

/** ADE20K, linear probe: block 45, frozen. 486,550 parameters are trained. */
export const segmentationLinear: SegmentationConfig = {
  vision: at504,
  classes: 150,
  blocks: [45],
  channels: 0,
  auxiliary: 0,
  dropout: 0,
};

/** ADE20K, UperNet with the encoder frozen ("head tuning"); full tuning has the auxiliary head on the third map. */
export const segmentationUperNet: SegmentationConfig = {
  ...segmentationLinear,
  blocks: [12, 24, 36, 48],
  channels: 1536,
  auxiliary: 1,
  dropout: 0.1,
};

type Map = FeatureMap<"batch" | "embed">;
type Scores = Tensor<"batch" | "row" | "column" | "class">;

/** The patches of a state as a feature map: [batch, token = 1 + N, embed] -> [batch, row, column, embed] */
function patchMap(tokens: VisionTokens, c: VisionConfig): Map {
  const token = axisOf(tokens, "token");
  const grid = c.image / c.patch;
  const patches = slice(tokens, token, 1, longer(token, -1).size);
  return split(patches, token, [axis("row", grid), axis("column", grid)]);
}

/** A feature pyramid from four maps of one size: at 4, 2, 1 and ½ times that size. */
function pyramid(p: Params, [first, second, third, fourth]: readonly Map[]): readonly Map[] {
  const embed = axisOf(first!, "embed");
  const twice = (scope: Params, x: Map): Map => transposedConvolution(scope, x, embed, embed, { kernel: 2, stride: 2 });
  const normed = gelu(layerNorm(p.scope("up1.1"), twice(p.scope("up1.0"), first!), [embed], 1e-6));
  return [twice(p.scope("up1.3"), normed), twice(p.scope("up2.0"), second!), third!, maxPool2x2(fourth!)];
}

/** Convolution without bias, batch norm, ReLU. */
function unit(p: Params, x: Map, width: number, kernel: number, updates: StateUpdate[]): Map {
  const embed = axis("embed", width);
  const mapped: Map = convolution(p.scope("conv"), x, axisOf(x, "embed"), embed, { kernel, bias: false });
  return relu(batchNorm(p.scope("bn"), mapped, embed, { updates }));
}

const sizeOf = (x: Map): readonly [number, number] =>
  [axisOf(x, "row"), axisOf(x, "column")].map((a: Axis) => a.size as number) as [number, number];
const like = (x: Map, other: Map): Map => resize(x, ...sizeOf(other), bilinear);
const beside = (maps: readonly Map[]): Map => concat(maps, axisOf(maps[0]!, "embed"));

/** Class logits of every pixel: channel dropout, then a 1 × 1 convolution. */
function classify(p: Params, x: Map, c: SegmentationConfig): Scores {
  const embed = axisOf(x, "embed");
  const kept = dropout(p, x, [axisOf(x, "batch"), embed], c.dropout);
  const init = normal(0.01);
  return convolution(p.scope("conv_seg"), kept, embed, axis("class", c.classes), { kernel: 1, init });
}

/** Pyramid pooling on the coarsest map, a top-down pathway to finer maps, and fusion at the finest. */
function uperHead(p: Params, maps: readonly Map[], c: SegmentationConfig, updates: StateUpdate[]): Scores {
  const conv = (name: string, x: Map, kernel: number) => unit(p.scope(name), x, c.channels, kernel, updates);
  const coarsest = maps.at(-1)!;
  const pooled = [1, 2, 3, 6].map((size, i) =>
    like(conv(`psp_modules.${i}.1`, resize(coarsest, size, size, adaptiveAverage), 1), coarsest),
  );
  const laterals = maps.slice(0, -1).map((x, i) => conv(`lateral_convs.${i}`, x, 1));
  laterals.push(conv("bottleneck", beside([coarsest, ...pooled]), 3));
  for (let i = laterals.length - 1; i > 0; i--) {
    laterals[i - 1] = add(laterals[i - 1]!, like(laterals[i]!, laterals[i - 1]!));
  }
  const outs = laterals.map((x, i) => (i + 1 < laterals.length ? conv(`fpn_convs.${i}`, x, 3) : x));
  const together = conv("fpn_bottleneck", beside(outs.map((x) => like(x, outs[0]!))), 3);
  return classify(p, together, c);
}

export interface Segmented {
  /** [batch, row, column, class] at the size of the head's finest map. */
  readonly scores: Scores;
  /** Logits of the auxiliary head, if any; only used in training. */
  readonly auxiliary?: Scores;
  readonly updates: readonly StateUpdate[];
}

const wrongBlocks = ({ blocks, vision }: SegmentationConfig, needed: number): UsageError =>
  new UsageError(`blocks [${blocks.join(", ")}]: this head takes ${needed} blocks, each from 1 to ${vision.depth}`);

/** Class logits of every pixel, by the configured head. */
export function segment(p: Params, pixels: Pixels, c: SegmentationConfig): Segmented {
  const states = internvit(p.scope("vision_model"), pixels, c.vision);
  const needed = c.channels === 0 ? 1 : 4;
  if (c.blocks.length !== needed) throw wrongBlocks(c, needed);
  const maps = c.blocks.map((block) => patchMap(stateAt(states, block, `blocks [${c.blocks.join(", ")}]`), c.vision));
  const updates: StateUpdate[] = [];
  const head = p.scope("decode_head");
  if (c.channels === 0) {
    const normed = batchNorm(head.scope("norm"), maps[0]!, axisOf(maps[0]!, "embed"), { updates });
    return { scores: classify(head, normed, c), updates };
  }
  const levels = pyramid(p.scope("backbone"), maps);
  const scores = uperHead(head, levels, c, updates);
  if (!p.training) return { scores, updates };
  const side = p.scope("auxiliary_head");
  const mapped = unit(side.scope("convs.0"), levels[c.auxiliary]!, c.channels, 3, updates);
  return { scores, auxiliary: classify(side, mapped, c), updates };
}

type PlaceLabels = Tensor<"batch" | "row" | "column">;

/** Logits resized to the image. */
const asLarge = (scores: Scores, label: PlaceLabels): Scores =>
  resize(scores, axisOf(label, "row").size as number, axisOf(label, "column").size as number, bilinear);

const placeLabels = (c: SegmentationConfig): PlaceLabels =>
  input("label", "i32", [axis("batch", "batch"), axis("row", c.vision.image), axis("column", c.vision.image)]);

/** The mean cross-entropy over all pixels; pixels labelled 255 count with zero loss. */
function placeLoss(scores: Scores, label: PlaceLabels): Tensor<never> {
  const [batch, row, column] = [axisOf(label, "batch"), axisOf(label, "row"), axisOf(label, "column")] as const;
  const full = asLarge(scores, label);
  const known = ne(label, 255);
  const answer = select(known, label, 0);
  const losses = crossEntropy(full, answer, axisOf(full, "class"));
  return mean(mul(losses, cast(known, "f32")), [batch, row, column]);
}

/** Pixel cross-entropy, with weight 0.4 for the auxiliary head. Inputs `pixels`, `label` i32 [batch, row, column]. */
export function segmentationLoss(p: Params, c: SegmentationConfig) {
  const { scores, auxiliary, updates } = segment(p, pixelsInput(c.vision), c);
  const label = placeLabels(c);
  const main = placeLoss(scores, label);
  const loss = auxiliary ? add(main, scale(placeLoss(auxiliary, label), 0.4)) : main;
  return { loss, metrics: { main }, updates };
}

/** Logits of the main head for every pixel, and the labels. */
export function classifiedPlaces(p: Params, c: SegmentationConfig) {
  const label = placeLabels(c);
  return { scores: asLarge(segment(p, pixelsInput(c.vision), c).scores, label), label };
}
