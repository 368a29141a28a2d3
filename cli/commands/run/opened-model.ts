/** The model of a command, with its weights on a device. */
import { type Graph, InternalError, keepWeightsAs, UsageError } from "../../../compiler/index.ts";
import { type ModelModes, trace } from "../../../dsl/index.ts";
import {
  type DeviceModel,
  deviceModel,
  escapeControls,
  offloadedModel,
  type ParameterSource,
  parametersTogether,
  quantizingSource,
  type Weights,
} from "../../../runtime/index.ts";
import { type ChosenDevice, openDevice, parseDevice } from "../../device.ts";
import { loadConfigured, type NamedModel } from "../../load.ts";
import { bytes } from "../../output.ts";
import { openParameters } from "../../parameters.ts";
import { precisionFor, precisionText } from "../../precision.ts";
import type { RunOptions } from "./options.ts";

/** Prints a message to stderr; stdout is for results. */
export const say = (text: string): void => void process.stderr.write(`${escapeControls(text)}\n`);

export type { NamedModel } from "../../load.ts";

/** The model for the given weights, with `--set` applied. */
export const openModel = (source: string, { set, weights }: RunOptions): Promise<NamedModel> =>
  loadConfigured(source, { set, weights: storedWeights(weights) });

/** The value of `--weights` for random initialization. */
const random = "random";

/** The path of stored weights; undefined for random ones. */
export const storedWeights = (weights: string): string | undefined => (weights === random ? undefined : weights);

/** One of the model's graphs, by name; the main one without a name. */
export function graphOf({ graph: main, model, config }: NamedModel, graph: string | undefined): Graph {
  if (graph === undefined) return main;
  if (model && config) return trace(model, config, { graph });
  throw new InternalError(`a graph by itself has no other that is called "${graph}"`);
}

/** The model's record of a mode. Throws UsageError, listing the modes it has, if this is not among them. */
export function modeOf<M extends keyof ModelModes>({ name, model }: NamedModel, mode: M): NonNullable<ModelModes[M]> {
  const modes = model?.modes ?? {};
  const found = modes[mode];
  if (found) return found as NonNullable<ModelModes[M]>;
  const served = Object.keys(modes);
  const has = served.length === 0 ? "none" : served.join(", ");
  throw new UsageError(
    `"${name}" does not support ${mode}: of the modes of heddle run, its record has ${has}\n  hint: declare it in the record as modes: { ${mode}: ... }`,
  );
}

export interface LoadedModel extends DeviceModel {
  readonly device: ChosenDevice;
  /** Whether weights are streamed through the device, which makes every run slow. */
  readonly streams: boolean;
  /** With streaming: reports to a listener how many of a run's parts are done, as "5/12". */
  onParts(listener: (parts: string) => void): void;
  close(): Promise<void>;
}

/**
 * Opens the weights that a graph needs, in heddle's own layout or a published one, and then the device. Graphs store
 * their parameters in the requested dtype.
 */
async function loadWeights(named: NamedModel, graph: Graph, options: RunOptions): Promise<LoadedModel> {
  if (!options.offload && options.memory !== undefined) throw new UsageError("--memory needs --offload: give both");
  const choice = parseDevice(options.device);
  const weights = await weightsFor(named, graph, options);
  try {
    const device = await openDevice(choice, options);
    say(`device: ${device.reason}`);
    assertDecodes(device, options);
    const source = quantizingSource(weights);
    if (options.dtype === "f16") say(`precision: ${precisionText(device.backend.precision({ precision: "f16" }))}`);
    let tell: (parts: string) => void = () => {};
    const model = modelOn(device, source, options, (parts) => tell(parts));
    const onParts: LoadedModel["onParts"] = (listener) => {
      tell = listener;
    };
    const close = async () => {
      model.dispose();
      device.backend.dispose();
      await weights.dispose();
    };
    const session: DeviceModel["session"] = (part, sizes) => {
      const { graph: kept, quantized } = keepWeightsAs(part, options.dtype);
      source.keep(quantized);
      return model.session(kept, sizes);
    };
    return { ...model, session, device, streams: options.offload, onParts, close };
  } catch (error) {
    await weights.dispose();
    throw error;
  }
}

/** Throws UsageError if integer weights are requested on a device whose kernels cannot decode them. */
function assertDecodes({ backend }: ChosenDevice, { dtype }: RunOptions): void {
  if (dtype === "f32" || dtype === "f16" || backend.device.backend === "webgpu") return;
  throw new UsageError(
    `--dtype ${dtype} keeps weights as integers on webgpu only; this device is ${backend.device.backend}\n  hint: use --device webgpu, or --dtype f16; "heddle export --dtype ${dtype}" writes integers that onnxruntime runs`,
  );
}

const weightsFor = ({ model }: NamedModel, graph: Graph, { weights }: RunOptions): Promise<Weights> =>
  openParameters(graph, model, storedWeights(weights), 0);

function modelOn(
  { backend }: ChosenDevice,
  weights: ParameterSource,
  { offload, memory, fixed, dtype }: RunOptions,
  tell: (parts: string) => void,
): DeviceModel {
  if (!offload) return deviceModel(backend, weights, { fixed, precision: precisionFor(dtype) });
  const held = memory ?? usualMemory;
  say(`streaming weights part by part: at most ${bytes(held)} of them are on the device at a time`);
  return offloadedModel(backend, weights, {
    memory: held,
    fixed,
    precision: precisionFor(dtype),
    onPart: (done, total) => tell(`${done}/${total}`),
    onExcess: (needed) => say(`the weights of a single operation are larger: ${bytes(needed)} are held at a time`),
  });
}

/** Two parts of 1 GB: two blocks of InternViT-6B in f32, or four in f16. */
const usualMemory = 2e9;

/** Runs `body` on a model loaded with the parameters of some of its graphs, and always closes it. */
export async function withWeights<T>(
  named: NamedModel,
  graphs: Graph | readonly Graph[],
  options: RunOptions,
  body: (model: LoadedModel) => Promise<T>,
): Promise<T> {
  const model = await loadWeights(named, "inputs" in graphs ? graphs : parametersTogether(graphs), options);
  try {
    return await body(model);
  } finally {
    await model.close();
  }
}
