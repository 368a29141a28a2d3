/** A model on a device: one copy of its parameters, shared by all the graphs that its modes need. */
import type { Backend, Store } from "../../backends/backend.ts";
import { type Graph, inputName, isParameter, type Precision, type Sizes } from "../../compiler/index.ts";
import { type ParameterSource, writeParameters } from "../parameter-source.ts";
import type { InferenceSession } from "../session.ts";
import { openSessions } from "./open-sessions.ts";

export interface DeviceModel {
  readonly backend: Backend;
  /** Parameters, and the state of graphs that have any. */
  readonly store: Store;
  /** Whether graphs are recompiled for each new set of sizes. */
  readonly fixed: boolean;
  /**
   * The float type of most computation and of activations between runs: the requested precision, as far as the device
   * supports it.
   */
  readonly computes: Precision;
  /** Compiles a graph and loads the parameters that no earlier graph used. */
  session(graph: Graph, sizes?: Sizes): Promise<InferenceSession>;
  dispose(): void;
}

export interface DeviceModelOptions {
  /** Default false: graphs are compiled once for all sizes. */
  readonly fixed?: boolean;
  /** The float type of most computation, if the device supports it; default "f32". */
  readonly precision?: Precision;
}

/**
 * A model without graphs yet. Parameters are loaded when a graph first needs them, so that at most one is in host
 * memory at a time.
 */
export function deviceModel(
  backend: Backend,
  parameters: ParameterSource,
  { fixed = false, precision = "f32" }: DeviceModelOptions = {},
): DeviceModel {
  const store = backend.createStore();
  const written = new Set<string>();
  const sessions = openSessions();
  const session = async (graph: Graph, sizes: Sizes = {}) => {
    const missing = graph.inputs.filter((n) => isParameter(n) && !written.has(inputName(n)));
    await writeParameters(store, parameters, missing);
    for (const node of missing) written.add(inputName(node));
    const executable = await backend.compile(graph, { sizes, fixed, precision });
    return sessions.add(
      (feeds, options) => executable.run(feeds, store, options),
      () => executable.dispose(),
    );
  };
  const dispose = () => {
    sessions.dispose();
    store.dispose();
  };
  const { computes } = backend.precision({ precision });
  return { backend, store, fixed, computes, session, dispose };
}
