/** Inference: a model with its weights on a device. */
import { type Graph, type HostTensor, type Precision, type Sizes, UsageError } from "../compiler/index.ts";
import type { Config } from "../dsl/index.ts";
import { deviceModel, type InferenceSession } from "../runtime/index.ts";
import { requireFeeds, requireSizes } from "./checks.ts";
import { sizedByWeights } from "./config-beside.ts";
import { type Device, onDevice, requireDevice } from "./device.ts";
import { graphOf, type Modelled, type ModelledOptions, modelledOptions, modelOf } from "./modelled.ts";
import { kinds, type OptionTable, requireOptions } from "./options.ts";
import { openParameters, type WeightsFrom, weightsKind } from "./weights.ts";

/** Options of `session`. */
export interface SessionOptions<C extends Config = Config> extends ModelledOptions<C> {
  /**
   * The source of its weights; not needed for a graph without parameters. A `config.json` beside a path gives the
   * model's settings, which `settings` overrides.
   */
  readonly weights?: WeightsFrom;
  /** Values of symbolic sizes, such as { batch: 8 }; others stay symbolic, so any size may be fed. */
  readonly sizes?: Sizes;
  /** The float type of most computation, where the device supports it. Default "f32". */
  readonly precision?: Precision;
}

const sessionOptions: OptionTable<SessionOptions> = {
  ...modelledOptions,
  weights: weightsKind,
  sizes: kinds.sizes,
  precision: kinds.precision,
};

/** Options of one run. */
export interface RunOptions {
  /** The outputs to read back to host memory, by name; default all. */
  readonly fetch?: readonly string[];
}

const runOptions: OptionTable<RunOptions> = { fetch: { is: Array.isArray, needed: "a list of output names" } };

/** A compiled model with its weights on a device. */
export interface Session {
  readonly graph: Graph;
  /**
   * Runs the graph on feeds by input name, as `hostTensor` makes them, with axes in the input's order. Returns the
   * outputs by name; with `fetch`, only those. Throws UsageError for a feed that is missing, unknown or of other axes,
   * and after the session or device was disposed of; DeviceLostError if the device is lost.
   */
  run(feeds: Readonly<Record<string, HostTensor>>, options?: RunOptions): Promise<Record<string, HostTensor>>;
  /** Frees its device memory once runs in progress have ended; the device stays open. */
  dispose(): void;
}

/**
 * Compiles a model for a device and uploads its weights. Throws UsageError or FileError naming every weight that is
 * missing or has the wrong shape.
 */
export async function session<C extends Config>(
  device: Device,
  what: Modelled<C>,
  given: SessionOptions<C> = {},
): Promise<Session> {
  requireDevice(device);
  requireOptions<SessionOptions>("session", given, sessionOptions);
  const { weights = new Map(), sizes = {}, precision = "f32", ...options } = given;
  return await onDevice(device, async () => {
    const graph = graphOf(await sizedByWeights(what, weights), options);
    if (Object.keys(graph.updates).length > 0)
      throw new UsageError(
        `graph @${graph.name} is stateful: run a training step with train, a decoder with openWriter`,
      );
    requireSizes(graph, sizes);
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

/** A session's `run` and `dispose`: after disposal, runs in progress complete and later ones throw. */
function untilDisposed(
  graph: Graph,
  device: Device,
  compiled: InferenceSession,
  free: () => void,
): Pick<Session, "run" | "dispose"> {
  let [running, isDisposed] = [0, false];
  const run: Session["run"] = async (feeds, options = {}) => {
    if (isDisposed)
      throw new UsageError(`the session of @${graph.name} has been disposed; open another one to run the graph`);
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
