/** InternVL-G writing texts: its graphs, and a session that begins with a picture and a prompt. */
import { type Graph, hostTensor, keepParametersAs, makeGraph } from "../../compiler/index.ts";
import { defineModel, type Params, trace } from "../../dsl/index.ts";
import { captionPrefill, captionStep, type GenerativeConfig } from "../../models/index.ts";
import { cachedSession, type DeviceModel } from "../../runtime/index.ts";
import { normals } from "../model/values.ts";

export interface CaptionGraphs {
  readonly beginning: Graph;
  readonly step: Graph;
}

export function captionGraphs(config: GenerativeConfig, dtype: "f32" | "f16"): CaptionGraphs {
  const graphOf = (name: string, build: (p: Params) => ReturnType<typeof captionStep>): Graph =>
    keepParametersAs(trace(defineModel({ name, summary: "", config: {}, build })), dtype);
  return {
    beginning: graphOf("caption", (p) => captionPrefill(p, config)),
    step: graphOf("caption-step", (p) => captionStep(p, config)),
  };
}

/** A graph that has the parameters of both. */
export const parametersOf = ({ beginning, step }: CaptionGraphs): Graph =>
  makeGraph(
    "parameters",
    [beginning, step].map((g, i) => ({
      name: String(i),
      node: g.outputs.find((out) => out.name === "logits")!.node,
    })),
  );

/** Tokens of a prompt as long as "English caption:" is. */
const prompt = [1, 4223, 5777, 29901];

/** `rows` texts about one picture, each of at most `tokens` after the prompt. */
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
  return {
    begin: () => session.begin(beginning, { pixels, input_ids: ids }),
    next: () => session.step(Array.from({ length: rows }, (_, i) => [(100 + i) % vocabulary])),
    dispose: () => session.dispose(),
  };
}
