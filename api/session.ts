/** Inference: a model with its weights on a device. */
import { type Graph, type HostTensor, type Precision, type Sizes, UsageError } from "../compiler/index.ts";
import type { Config } from "../dsl/index.ts";
import { deviceModel, type InferenceSession } from "../runtime/index.ts";
import { requireFeeds, requireSizes } from "./checks.ts";
import { type Device, onDevice, requireDevice } from "./device.ts";
import { graphOf, type Modelled, type ModelledOptions, modelledOptions, modelOf } from "./modelled.ts";
import { kinds, type OptionTable, requireOptions } from "./options.ts";
import { openParameters, type WeightsFrom, weightsKind } from "./weights.ts";

/** How a model is compiled, and with which weights. */
export interface SessionOptions<C extends Config = Config> extends ModelledOptions<C> {
  /** Where its parameters come from; what has none needs none. */
  readonly weights?: WeightsFrom;
  /** Numbers for open sizes, such as { batch: 8 }; those without one stay open, and any number may be fed. */
  readonly sizes?: Sizes;
  /** In which floats most of the work is done, where the device can. Default "f32". */
  readonly precision?: Precision;
}

const sessionOptions: OptionTable<SessionOptions> = {
  ...modelledOptions,
  weights: weightsKind,
  sizes: kinds.sizes,
  precision: kinds.precision,
};

/** How a session runs once. */
export interface RunOptions {
  /** The outputs that are wanted in host memory, by name; others are not read back. Default all. */
  readonly fetch?: readonly string[];
}

const runOptions: OptionTable<RunOptions> = { fetch: { is: Array.isArray, needed: "a list of names of outputs" } };

/** A compiled model with its weights on a device. */
export interface Session {
  readonly graph: Graph;
  /**
   * Runs once: feeds by the names of the graph's inputs, as `hostTensor` makes them, their axes in the order of the input's.
   * Gives the outputs by name; with `fetch`, those alone. Throws UsageError for a feed that is missing, unknown or of other
   * axes, and after session or device were disposed of; DeviceLostError where the device is lost.
   */
  run(feeds: Readonly<Record<string, HostTensor>>, options?: RunOptions): Promise<Record<string, HostTensor>>;
  /** Frees its memory on the device, which stays open, once the runs that were begun have ended. */
  dispose(): void;
}

/**
 * Compiles a model for a device and puts its weights there. Throws UsageError or FileError naming every weight that is
 * missing or mis-shaped.
 */
export async function session<C extends Config>(
  device: Device,
  what: Modelled<C>,
  given: SessionOptions<C> = {},
): Promise<Session> {
  requireDevice(device);
  requireOptions<SessionOptions>("session", given, sessionOptions);
  const { weights = new Map(), sizes = {}, precision = "f32", ...options } = given;
  const graph = graphOf(what, options);
  if (Object.keys(graph.updates).length > 0)
    throw new UsageError(`graph @${graph.name} keeps state: a training step is for train, a decoder's for openWriter`);
  requireSizes(graph, sizes);
  return await onDevice(device, async () => {
    const parameters = await openParameters(weights, graph, modelOf(what));
    const model = deviceModel(device, parameters, { precision });
    try {
      const compiled = await model.session(graph, sizes);
      return { graph, ...untilDisposed(graph, device, compiled, model.dispose) };
    } catch (error) {
      model.dispose();
      throw error;
    } finally {
      await parameters.dispose();
    }
  });
}

/** Runs of a session until it is disposed of: those that were begun end as they would, later ones are refused. */
function untilDisposed(
  graph: Graph,
  device: Device,
  compiled: InferenceSession,
  free: () => void,
): Pick<Session, "run" | "dispose"> {
  let [running, isDisposed] = [0, false];
  const run: Session["run"] = async (feeds, options = {}) => {
    if (isDisposed) throw new UsageError(`the session of @${graph.name} was disposed of; open another to run it`);
    requireOptions("run", options, runOptions);
    requireFeeds(graph, feeds);
    running += 1;
    try {
      return await onDevice(device, () => compiled.run(feeds ?? {}, options));
    } finally {
      running -= 1;
      if (isDisposed && running === 0) free();
    }
  };
  const dispose = () => {
    if (!isDisposed && running === 0) free();
    isDisposed = true;
  };
  return { run, dispose };
}
