/** The model of a command line, and its weights on a device. */
import { extname } from "node:path";
import type { Graph } from "../../../compiler/index.ts";
import { type Config, configure, defineModel, type Params, parseSettings, trace } from "../../../dsl/index.ts";
import { publishedLayout } from "../../../models/index.ts";
import { type DeviceModel, deviceModel, openWeights } from "../../../runtime/index.ts";
import { type ChosenDevice, openDevice, parseDevice } from "../../device.ts";
import { loadGraph, loadModel } from "../../load.ts";
import type { RunOptions } from "./options.ts";

/** A line for people; stdout is kept for results. */
export const say = (text: string): void => void process.stderr.write(`${text}\n`);

/** A model with `--set` applied: what it computes by itself, and its configuration where it is no bare graph. */
export interface NamedModel {
  readonly name: string;
  readonly graph: Graph;
  readonly config?: Config;
}

export async function openModel(source: string, { set }: RunOptions): Promise<NamedModel> {
  const graph = await loadGraph(source, set);
  if (extname(source) === ".graph") return { name: graph.name, graph };
  const model = await loadModel(source);
  return { name: model.name, graph, config: configure(model, parseSettings(model, set)) };
}

/** A graph over a model's parameters that the model does not list among its outputs. */
export const graphOf = (name: string, build: (p: Params) => ReturnType<Parameters<typeof defineModel>[0]["build"]>) =>
  trace(defineModel({ name, summary: "", config: {}, build }));

export interface LoadedModel extends DeviceModel {
  readonly device: ChosenDevice;
  close(): Promise<void>;
}

/** Opens the weights that a graph needs, in heddle's own layout or a published one, and then the device. */
export async function loadWeights(graph: Graph, options: RunOptions): Promise<LoadedModel> {
  const weights = await openWeights(options.weights, graph, publishedLayout(graph));
  try {
    const device = await openDevice(parseDevice(options.device));
    say(`device: ${device.reason}`);
    const model = deviceModel(device.backend, weights);
    const close = async () => {
      model.dispose();
      device.backend.dispose();
      await weights.dispose();
    };
    return { ...model, device, close };
  } catch (error) {
    await weights.dispose();
    throw error;
  }
}

/** Runs `body` on a loaded model, which is closed whatever happens. */
export async function withWeights<T>(
  graph: Graph,
  options: RunOptions,
  body: (model: LoadedModel) => Promise<T>,
): Promise<T> {
  const model = await loadWeights(graph, options);
  try {
    return await body(model);
  } finally {
    await model.close();
  }
}
