/** Kernels of a graph, run in the interpreter, beside the reference in float64. */
import { evaluate } from "../../backends/reference/index.ts";
import {
  type AdapterFacts,
  compileKernels,
  type Graph,
  inputName,
  type Program,
  runProgram,
} from "../../compiler/index.ts";
import { excess, seeded } from "../support/samples.ts";

export type InputValues = (name: string, length: number) => Float64Array;

/** Uniform numbers from -1 to 1, of which some inputs are exchanged. */
export const drawn =
  (others: Readonly<Record<string, (i: number) => number>> = {}): InputValues =>
  (name, length) => {
    const next = seeded(name.length * 7 + name.charCodeAt(0));
    return Float64Array.from({ length }, (_, i) => Math.fround(others[name]?.(i) ?? 2 * next() - 1));
  };

export function inputsOf(graph: Graph, values: InputValues): Map<string, Float64Array> {
  const length = (n: Graph["inputs"][number]) => n.type.axes.reduce((size, a) => size * Number(a.size), 1);
  return new Map(graph.inputs.map((n) => [inputName(n), values(inputName(n), length(n))]));
}

/** What the kernels make of a graph beyond what is granted, and the program. */
export function computed(
  graph: Graph,
  facts: AdapterFacts,
  values: InputValues = drawn(),
  granted = 2e-5,
  precision: "f32" | "f16" = "f32",
): { readonly program: Program; readonly mistakes: readonly string[] } {
  const inputs = inputsOf(graph, values);
  const program = compileKernels(graph, facts, { precision, check: "all" });
  const { outputs } = runProgram(program, inputs);
  const mistakes = [...evaluate(graph, inputs)].flatMap(([name, want]) => {
    const over = excess(outputs.get(name)!, want.data, granted, granted);
    return over > 0 ? [`${name} is off by ${over} more than is granted`] : [];
  });
  return { program, mistakes };
}
