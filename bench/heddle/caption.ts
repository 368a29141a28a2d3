/** InternVL-G generating texts: its graphs, and a session that starts with an image and a prompt. */
import { type Graph, hostTensor, keepWeightsAs, makeGraph, type WeightDType } from "../../compiler/index.ts";
import { defineModel, type Params, trace } from "../../dsl/index.ts";
import { captionPrefill, captionStep, type GenerativeConfig } from "../../models/index.ts";
import { cachedSession, type DeviceModel, quantizingSource } from "../../runtime/index.ts";
import { tableWeights } from "../model/table-weights.ts";
import { normals } from "../model/values.ts";

type Kept = ReturnType<typeof keepWeightsAs>;

export interface CaptionGraphs {
  readonly beginning: Graph;
  readonly step: Graph;
  /** The two graphs as declared, and how their weights are stored. */
  readonly floats: readonly Graph[];
  readonly kept: readonly Kept[];
}

export function captionGraphs(config: GenerativeConfig, dtype: WeightDType): CaptionGraphs {
  const graphOf = (name: string, build: (p: Params) => ReturnType<typeof captionStep>): Graph =>
    trace(defineModel({ name, summary: "", config: {}, build }));
  const floats = [
    graphOf("caption", (p) => captionPrefill(p, config)),
    graphOf("caption-step", (p) => captionStep(p, config)),
  ];
  const kept = floats.map((graph) => keepWeightsAs(graph, dtype));
  const [beginning, step] = kept.map(({ graph }) => graph) as [Graph, Graph];
  return { beginning, step, floats, kept };
}

/** Random weights for both graphs, in their stored form. */
export function captionSource({ floats, kept }: CaptionGraphs) {
  const outputs = floats.map((g, i) => ({
    name: String(i),
    node: g.outputs.find((out) => out.name === "logits")!.node,
  }));
  const source = quantizingSource(tableWeights(makeGraph("parameters", outputs)));
  for (const { quantized } of kept) source.keep(quantized);
  return source;
}

/** Tokens of a prompt as long as "English caption:". */
const prompt = [1, 4223, 5777, 29901];

/** `rows` texts about one image, each of at most `tokens` after the prompt. */
export function captionSession(
  model: DeviceModel,
  { beginning, step }: CaptionGraphs,
  config: GenerativeConfig,
  rows: number,
  tokens: number,
) {
  const side = config.vision.image;
  const axes = Object.entries({ batch: 1, channel: 3, row: side, column: side }).map(([name, size]) => ({
    name,
    size,
  }));
  const pixels = hostTensor("f32", axes, normals("pixels", 3 * side * side));
  const vocabulary = config.text.vocab;
  const ids = hostTensor(
    "i32",
    [axes[0]!, { name: "token", size: prompt.length }],
    prompt.map((id) => id % vocabulary),
  );
  const capacity = config.text.queries + prompt.length + tokens + 1;
  const session = cachedSession(model, step, { rows, capacity });
  // The requests of greedy decoding for one text, and of beam search, in which beams are reordered in nearly every
  // step.
  const last = Array.from({ length: rows }, (_, i) => (100 + i) % vocabulary);
  const parents = rows > 1 ? last.map((_, i) => (i + 1) % rows) : undefined;
  return {
    begin: () => session.begin(beginning, { pixels, input_ids: ids }),
    next: () => session.rank(last, rows > 1 ? 2 * rows : 1, parents),
    dispose: () => session.dispose(),
  };
}
