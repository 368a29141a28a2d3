/** Argument checks at the public API, for mistakes that would otherwise surface late or never. */
import {
  type DType,
  didYouMean,
  elementCount,
  type Graph,
  graphSymbols,
  type HostTensor,
  inputName,
  isParameter,
  type Node,
  printType,
  type SizedAxis,
  type Sizes,
  UsageError,
} from "../compiler/index.ts";
import { kindOfValue } from "../dsl/index.ts";
import { isRecord } from "./options.ts";

/** Throws UsageError for a size that is not symbolic in the graph, and for one that is not an integer of 1 or more. */
export function requireSizes(graph: Graph, sizes: Sizes): void {
  const open = graphSymbols(graph);
  for (const [name, size] of Object.entries(sizes)) {
    if (!open.includes(name))
      throw new UsageError(
        `graph @${graph.name} has no symbolic size "${name}"${didYouMean(name, open) || `; it has ${open.join(", ") || "none"}`}`,
      );
    if (!Number.isSafeInteger(size) || size < 1)
      throw new UsageError(`size "${name}" must be a positive integer, got ${size}`);
  }
}

/** Throws UsageError unless `feeds` is an object of tensors by name; each tensor is checked when the graph runs. */
export function requireFeeds(graph: Graph, feeds: unknown): void {
  if (feeds === undefined || isRecord(feeds)) return;
  const names = graph.inputs.filter((node) => !isParameter(node)).map(inputName);
  throw new UsageError(
    `the feeds of graph @${graph.name} must be an object of tensors by name, { ${names.join(", ")} }, got ${kindOfValue(feeds)}`,
  );
}

/** Throws UsageError for a value that is not a tensor, and for one whose data does not fill its axes. */
export function requireTensor(value: HostTensor, what: string): void {
  if (!Array.isArray(value?.axes) || typeof value.data?.length !== "number")
    throw new UsageError(`${what} is not a tensor: create one with hostTensor(dtype, axes, data)`);
  if (value.data.length !== elementCount(value.axes))
    throw new UsageError(`${what} is ${printType(value)}, but its data has ${value.data.length} elements`);
}

export const isFloat = (dtype: DType): boolean => dtype === "f32" || dtype === "f16";

/** Throws UsageError for a value that does not fit a parameter: not a tensor, other sizes, or integers for floats. */
export function requireValueOf(parameter: Node, value: HostTensor): void {
  const { axes, dtype } = parameter.type;
  requireTensor(value, `the value given for weight "${inputName(parameter)}"`);
  const sizes = value.axes.map((axis: SizedAxis) => axis.size);
  const fits = sizes.length === axes.length && axes.every((a, i) => typeof a.size !== "number" || a.size === sizes[i]);
  if (!fits || isFloat(dtype) !== isFloat(value.dtype))
    throw new UsageError(
      `weight "${inputName(parameter)}" is ${printType(parameter.type)}, but the given value is ${printType(value)}`,
    );
}
