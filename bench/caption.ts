/**
 * Captioning with InternVL-G, by default at its published size: `npm run bench:caption -- --device webgpu`. Times the
 * prefill (image, queries and prompt) and the decoding of a token, for one text and for five beams, with random
 * weights.
 */
import { Command, Option } from "commander";
import { openDevice, parseDevice } from "../cli/index.ts";
import { type WeightDType, weightDtypes } from "../compiler/index.ts";
import { type GenerativeConfig, internvlGConfig } from "../models/index.ts";
import { type DeviceModel, deviceModel } from "../runtime/index.ts";
import { type CaptionGraphs, captionGraphs, captionSession, captionSource } from "./heddle/caption.ts";
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

async function main(o: Options): Promise<void> {
  const config: GenerativeConfig = {
    ...internvlGConfig,
    vision: { ...internvlGConfig.vision, depth: o.blocks },
    text: { ...internvlGConfig.text, depth: o.layers },
  };
  const graphs = captionGraphs(config, o.dtype);
  const { backend, reason } = await openDevice(parseDevice(o.device));
  console.log(`device  ${reason}`);
  const precision = o.dtype === "f16" ? "f16" : "f32";
  const model = deviceModel(backend, captionSource(graphs), { precision });
  for (const rows of [1, 5]) await writeRows(model, graphs, config, rows, o.tokens);
  model.dispose();
  backend.dispose();
}

async function writeRows(
  model: DeviceModel,
  graphs: CaptionGraphs,
  config: GenerativeConfig,
  rows: number,
  tokens: number,
): Promise<void> {
  const session = captionSession(model, graphs, config, rows, tokens);
  const begin = () => milliseconds(() => session.begin());
  const next = () => milliseconds(() => session.next());
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
