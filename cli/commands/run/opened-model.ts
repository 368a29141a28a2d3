/** The model of a command line, and its weights on a device. */
import type { Graph } from "../../../compiler/index.ts";
import { defineModel, type Params, trace } from "../../../dsl/index.ts";
import { publishedLayout } from "../../../models/index.ts";
import { type DeviceModel, deviceModel, openWeights } from "../../../runtime/index.ts";
import { type ChosenDevice, openDevice, parseDevice } from "../../device.ts";
import { loadConfigured, type NamedModel } from "../../load.ts";
import type { RunOptions } from "./options.ts";

/** A line for people; stdout is kept for results. */
export const say = (text: string): void => void process.stderr.write(`${text}\n`);

export type { NamedModel } from "../../load.ts";

/** The model for the weights of the command line, with `--set` applied. */
export const openModel = (source: string, options: RunOptions): Promise<NamedModel> => loadConfigured(source, options);

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
