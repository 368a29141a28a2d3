/** The parameters of several graphs of a model, to open its weights once for all of them. */
import { type Graph, inputName, isParameter, makeGraph } from "../../compiler/index.ts";

/** A graph that has the parameters of all `graphs`, and returns them. */
export function parametersTogether(graphs: readonly Graph[]): Graph {
  const nodes = new Map(graphs.flatMap(({ inputs }) => inputs.filter(isParameter).map((n) => [inputName(n), n])));
  return makeGraph(
    graphs.map(({ name }) => name).join("-and-"),
    [...nodes].map(([name, node]) => ({ name, node })),
  );
}
