/** Validation of run inputs, shared by all executors. */
import {
  bindDim,
  didYouMean,
  dimValue,
  elementCount,
  type Graph,
  type HostTensor,
  inputName,
  isParameter,
  loneSymbol,
  type Node,
  nodesOf,
  notHeld,
  printType,
  type Sizes,
  solveDim,
  symbolsOf,
  type TensorType,
  UsageError,
} from "../compiler/index.ts";

/** True for inputs that live in a store: parameters and state. */
export const isResident = (node: Node): boolean => isParameter(node) || node.attrs.role === "state";

/** The inputs that must be fed to a run. */
export const fedInputs = (graph: Graph): Node[] => graph.inputs.filter((n) => !isResident(n));

/**
 * The outputs that a run returns: `fetch`, or by default those that update no state. Throws UsageError if one is
 * unknown.
 */
export const fetchedOutputs = (graph: Graph, fetch?: readonly string[]): string[] => {
  const names = graph.outputs.map((o) => o.name);
  if (fetch && !Array.isArray(fetch)) throw new UsageError(`fetch must be a list of output names, got "${fetch}"`);
  if (!fetch) return names.filter((n) => !(n in graph.updates));
  const unknown = fetch.find((n) => !names.includes(n));
  if (unknown !== undefined)
    throw new UsageError(`graph @${graph.name} has no output "${unknown}"${didYouMean(unknown, names)}`);
  return [...fetch];
};

/**
 * Matches feeds with the graph's inputs and infers the symbolic sizes. The axis order must be that of the input.
 * Throws UsageError listing every missing, unknown and mis-shaped feed at once, and for a size out of bounds.
 */
export function checkFeeds(graph: Graph, feeds: Readonly<Record<string, HostTensor>>, sizes: Sizes = {}): Sizes {
  const wanted = new Map(fedInputs(graph).map((n) => [inputName(n), n]));
  const bound: Record<string, number> = { ...sizes };
  const mistakes = [...wanted].flatMap(([name, node]) => {
    const feed = Object.hasOwn(feeds, name) ? feeds[name] : undefined;
    if (!feed) return [`input "${name}" of type ${printType(node.type)} is missing`];
    if (!isHostTensor(feed))
      return [
        `input "${name}" is fed ${what(feed)}, not a tensor: pass ${printType(node.type)} as hostTensor(dtype, axes, data)`,
      ];
    if (feed.data.length !== elementCount(feed.axes))
      return [`input "${name}" is fed ${printType(feed)} with data of ${feed.data.length} elements`];
    if (!fits(node, feed, bound))
      return [`input "${name}" is ${printType(node.type)}, but the feed is ${printType(feed)}`];
    const fault = notHeld(feed.dtype, feed.data);
    return fault === undefined ? [] : [`input "${name}": ${fault}`];
  });
  for (const name of Object.keys(feeds)) {
    if (!wanted.has(name)) mistakes.push(`there is no input "${name}"${didYouMean(name, wanted.keys())}`);
  }
  if (mistakes.length === 0)
    mistakes.push(...solvedSizes(graph, feeds, bound), ...compoundMistakes(graph, feeds, bound));
  if (mistakes.length > 0)
    throw new UsageError(`graph @${graph.name} cannot run:\n${mistakes.map((m) => `  ${m}`).join("\n")}`);
  for (const node of wanted.values()) for (const axis of node.type.axes) bindDim(axis.size, bound);
  return bound;
}

/**
 * Solves for symbols that occur only in compound sizes, such as an image's patch rows; reports non-integer solutions.
 */
function solvedSizes(
  graph: Graph,
  feeds: Readonly<Record<string, HostTensor>>,
  bound: Record<string, number>,
): string[] {
  return fedInputs(graph).flatMap((node) =>
    node.type.axes.flatMap(({ name, size }, i) => {
      const given = feeds[inputName(node)]!.axes[i]!.size;
      const found = solveDim(size, given, bound);
      if (!found) return [];
      if (!Number.isInteger(found.value))
        return [`axis "${name}" of input "${inputName(node)}" is ${size}, but the feed has ${given}`];
      bound[found.symbol.name] = found.value;
      return [];
    }),
  );
}

/** Errors for feeds whose axis size differs from the value of its compound size, such as past+tokens. */
function compoundMistakes(graph: Graph, feeds: Readonly<Record<string, HostTensor>>, sizes: Sizes): string[] {
  return fedInputs(graph).flatMap((node) =>
    node.type.axes.flatMap(({ name, size }, i) => {
      if (symbolsOf(size).some((s) => !Object.hasOwn(sizes, s.name))) return []; // an executor that needs it reports it
      const [want, given] = [dimValue(size, sizes), feeds[inputName(node)]!.axes[i]!.size];
      return want === given
        ? []
        : [`axis "${name}" of input "${inputName(node)}" is ${size} = ${want}, but the feed has ${given}`];
    }),
  );
}

/** Describes a value given in place of a tensor, for an error message. */
function what(feed: unknown): string {
  if (Array.isArray(feed)) return "a list";
  return ArrayBuffer.isView(feed) ? `the array ${feed.constructor.name}` : `a value of type ${typeof feed}`;
}

const isHostTensor = ({ dtype, axes, data }: Partial<HostTensor>): boolean =>
  typeof dtype === "string" && Array.isArray(axes) && typeof data?.length === "number";

/** Compares a feed with an input's type, binding each plain symbol on first use. */
function fits(node: Node, feed: HostTensor, bound: Record<string, number>): boolean {
  if (feed.dtype !== node.type.dtype || feed.axes.length !== node.type.axes.length) return false;
  return node.type.axes.every((axis, i) => {
    const given = feed.axes[i]!;
    if (given.name !== axis.name) return false;
    if (typeof axis.size === "number") return axis.size === given.size;
    const symbol = loneSymbol(axis.size);
    if (symbol) return (bound[symbol.name] ??= given.size) === given.size;
    return true; // a compound size is checked once all symbols are bound
  });
}

/** The states that a graph replaces without reading them: a run need not find them in its store. */
export function onlyWritten(graph: Graph): readonly Node[] {
  const read = new Set(nodesOf(graph));
  const replaced = new Set(Object.values(graph.updates));
  return graph.inputs.filter((n) => isResident(n) && replaced.has(inputName(n)) && !read.has(n));
}

/** Looks up the type of a store's tensor by name, if it exists. */
export type HeldType = (name: string) => Pick<HostTensor, "dtype" | "axes"> | undefined;

/**
 * The sizes of a run, extended by those that only stored tensors determine, such as a cache's capacity. Throws
 * UsageError listing every stored tensor whose type differs from the graph's, and for a size out of bounds. A tensor
 * missing from the store is not an error here, since a graph may declare inputs that it does not read: the store
 * reports it by name when the run reads it.
 */
export function checkResidents(graph: Graph, held: HeldType, sizes: Sizes): Sizes {
  const bound: Record<string, number> = { ...sizes };
  const residents = graph.inputs.filter(isResident);
  const mistakes = residents.flatMap((node) => {
    const given = held(inputName(node));
    return !given || holdsIt(node.type, given, bound)
      ? []
      : [`  "${inputName(node)}" is ${printType(node.type)}, but in the store it is ${printType(given)}`];
  });
  if (mistakes.length > 0) throw new UsageError(`graph @${graph.name} cannot run:\n${mistakes.join("\n")}`);
  for (const { type } of residents) for (const { size } of type.axes) bindDim(size, bound); // throws if out of bounds
  return bound;
}

/** Compares a stored tensor with its declared type, binding each plain symbol on first use. */
function holdsIt(type: TensorType, given: NonNullable<ReturnType<HeldType>>, bound: Record<string, number>): boolean {
  if (given.dtype !== type.dtype || given.axes.length !== type.axes.length) return false;
  return type.axes.every(({ name, size }, i) => {
    const own = given.axes[i]!;
    if (name !== own.name) return false;
    if (typeof size === "number") return size === own.size;
    const symbol = loneSymbol(size);
    if (symbol) return (bound[symbol.name] ??= own.size) === own.size;
    const known = symbolsOf(size).every((s) => Object.hasOwn(bound, s.name));
    return !known || dimValue(size, bound) === own.size;
  });
}
