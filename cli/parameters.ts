/** Parameter values for commands that need them: from a file where one is given, else drawn from the initializers. */
import { type Graph, hostTensor, inputName } from "../compiler/index.ts";
import { initialValue, openWeights, type Weights } from "../runtime/index.ts";
import { publishedLayout } from "./published-layout.ts";

export interface ParameterSource extends Weights {
  /** For people: where the values come from. */
  readonly origin: string;
}

/** Opens `file` as the graph's weights; without one, parameters are what their initializers draw for `seed`. */
export async function openParameters(graph: Graph, file: string | undefined, seed: number): Promise<ParameterSource> {
  if (file !== undefined) {
    const weights = await openWeights(file, graph, publishedLayout(graph));
    return { ...weights, origin: file };
  }
  const nodes = new Map(graph.inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), n]));
  return {
    read: async (name, dtype = "f32") => {
      const drawn = initialValue(nodes.get(name)!, seed);
      return dtype === "f16" ? hostTensor("f16", drawn.axes, new Float16Array(drawn.data)) : drawn;
    },
    report: "",
    origin: `random values from the initializers, seed ${seed} (give --weights for trained ones)`,
    dispose: async () => {},
  };
}
