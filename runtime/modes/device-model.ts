/** One model on a device: its parameters once, and as many graphs over them as its modes need. */
import type { Backend, Store } from "../../backends/backend.ts";
import { type Graph, inputName, isParameter, type Precision, type Sizes } from "../../compiler/index.ts";
import { type ParameterSource, writeParameters } from "../parameter-source.ts";
import type { InferenceSession } from "../session.ts";
import { openSessions } from "./open-sessions.ts";

export interface DeviceModel {
  readonly backend: Backend;
  /** Parameters, and the state of graphs that keep some. */
  readonly store: Store;
  /** Whether graphs are compiled anew for each set of sizes that runs come with. */
  readonly fixed: boolean;
  /** In which floats most of the work is done, and what is handed from run to run: what the device can of what was asked for. */
  readonly computes: Precision;
  /** Compiles a graph and reads the parameters that no graph before it had. */
  session(graph: Graph, sizes?: Sizes): Promise<InferenceSession>;
  dispose(): void;
}

export interface DeviceModelOptions {
  /** Default false: graphs are compiled once for all sizes. */
  readonly fixed?: boolean;
  /** In which floats most of the work is done, where the device can; default "f32". */
  readonly precision?: Precision;
}

/** A model without graphs yet. Parameters are read when a graph first needs them, so one at most is in host memory at a time. */
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
