/**
 * InternVL-G writing captions, by default at its published size: `npm run bench:caption -- --device webgpu`. Times
 * the beginning (the image, the queries and a prompt) and a token, for one text and for five beams. Weights are drawn.
 */
import { Command, Option } from "commander";
import { openDevice, parseDevice } from "../cli/index.ts";
import { type Graph, hostTensor, keepWeightsAs, makeGraph, type WeightDType, weightDtypes } from "../compiler/index.ts";
import { defineModel, type Params, trace } from "../dsl/index.ts";
import { captionPrefill, captionStep, type GenerativeConfig, internvlGConfig } from "../models/index.ts";
import { cachedSession, type DeviceModel, deviceModel, quantizingSource } from "../runtime/index.ts";
import { tableWeights } from "./model/table-weights.ts";
import { normals } from "./model/values.ts";
import { median } from "./statistics.ts";

interface Options {
  readonly device: string;
  readonly layers: number;
  readonly blocks: number;
  readonly dtype: WeightDType;
  readonly tokens: number;
}

const program = new Command("bench:caption")
  .option("--device <device>", "auto, webgpu or cpu", "auto")
  .option("--layers <n>", "of QLLaMA", Number, internvlGConfig.text.depth)
  .option("--blocks <n>", "of InternViT", Number, internvlGConfig.vision.depth)
  .addOption(new Option("--dtype <dtype>", "what weights are kept as").choices(weightDtypes).default("f16"))
  .option("--tokens <n>", "timed tokens", Number, 30);

/** A prompt as long as "English caption:" is. */
const prompt = [1, 4223, 5777, 29901];

async function main(o: Options): Promise<void> {
  const config: GenerativeConfig = {
    ...internvlGConfig,
    vision: { ...internvlGConfig.vision, depth: o.blocks },
    text: { ...internvlGConfig.text, depth: o.layers },
  };
  const graphOf = (name: string, build: (p: Params) => ReturnType<typeof captionStep>): Graph =>
    trace(defineModel({ name, summary: "", config: {}, build }));
  const floats = [graphOf("caption", (p) => captionPrefill(p, config)), graphOf("step", (p) => captionStep(p, config))];
  const kept = floats.map((graph) => keepWeightsAs(graph, o.dtype));
  const [beginning, step] = kept.map(({ graph }) => graph) as [Graph, Graph];
  const { backend, reason } = await openDevice(parseDevice(o.device));
  console.log(`device  ${reason}`);
  const source = quantizingSource(tableWeights(parametersOf(...floats)));
  for (const { quantized } of kept) source.keep(quantized);
  const model = deviceModel(backend, source);
  for (const rows of [1, 5]) await writeRows(model, beginning, step, config, rows, o.tokens);
  model.dispose();
  backend.dispose();
}

/** A graph that has the parameters of both. */
const parametersOf = (...graphs: readonly Graph[]): Graph =>
  makeGraph(
    "parameters",
    graphs.map((g, i) => ({ name: String(i), node: g.outputs.find((out) => out.name === "logits")!.node })),
  );

async function writeRows(
  model: DeviceModel,
  beginning: Graph,
  step: Graph,
  config: GenerativeConfig,
  rows: number,
  tokens: number,
): Promise<void> {
  const side = config.vision.image;
  const axes = Object.entries({ batch: 1, channel: 3, row: side, column: side }).map(([name, size]) => ({
    name,
    size,
  }));
  const pixels = hostTensor("f32", axes, normals("pixels", 3 * side * side));
  const ids = hostTensor("i32", [axes[0]!, { name: "token", size: prompt.length }], prompt);
  const capacity = config.text.queries + prompt.length + tokens + 1;
  const session = cachedSession(model, step, { rows, capacity });
  const begin = () => milliseconds(() => session.begin(beginning, { pixels, input_ids: ids }));
  // As greedy decoding of one text and a search with beams, which change places in nearly every step, ask for them.
  const tokensOfRows = Array.from({ length: rows }, (_, i) => 100 + i);
  const parents = rows > 1 ? tokensOfRows.map((_, i) => (i + 1) % rows) : undefined;
  const next = () => milliseconds(() => session.rank(tokensOfRows, rows > 1 ? 2 * rows : 1, parents));
  const [first, again, compiled] = [await begin(), await begin(), await next()];
  const times: number[] = [];
  for (let i = 0; i < tokens; i++) times.push(await next());
  console.log(
    `${rows} ${rows === 1 ? "text " : "beams"} begin ${again.toFixed(0)} ms (first ${(first / 1000).toFixed(1)} s, weights included), a token ${median(times).toFixed(1)} ms (first ${compiled.toFixed(0)} ms)`,
  );
  session.dispose();
}

async function milliseconds(body: () => Promise<unknown>): Promise<number> {
  const begun = performance.now();
  await body();
  return performance.now() - begun;
}

await main(program.parse().opts<Options>());
