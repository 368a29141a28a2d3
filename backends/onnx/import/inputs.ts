/** Model inputs as graph inputs, with axes and symbolic sizes. */
import {
  type Axis,
  type Dim,
  didYouMean,
  FileError,
  type Node,
  ops,
  symbol,
  UnsupportedError,
  UsageError,
} from "../../../compiler/index.ts";
import { type DimensionSizes, identifier, namedDimensions, namesIn, polynomialOf, unlike } from "./dimensions.ts";
import { type ElementType, elementType } from "./elements.ts";
import { InterfaceNames, shownName } from "./file-names.ts";
import type { DimMessage, GraphMessage, ValueInfo } from "./messages.ts";
import { rolesOf } from "./operators.ts";
import type { ImportOptions } from "./options.ts";
import type { Names } from "./scope.ts";
import { tensor, type Value } from "./values.ts";

/** What some exporters write for a dimension that they leave open. */
const unknownSize = -1;

/** Limit on a tensor's rank. */
const mostDimensions = 64;

/**
 * Reads the graph's inputs and defines their values in `names`. Notes invented names and differences from the file.
 * Throws UsageError for a size or a constant in the options that the file does not have.
 */
export function readInputs(
  graph: GraphMessage,
  stored: ReadonlySet<string>,
  { sizes, constants }: ImportOptions,
  names: Names,
): { readonly nodes: Node[]; readonly notes: string[] } {
  requireConstants(Object.keys(constants ?? {}), graph, stored);
  const fed = graph.input.filter(({ name }) => !stored.has(name)); // before IR version 4, weights are also inputs
  const open = new OpenSizes(sizes, fed);
  const notes: string[] = [];
  const called = new InterfaceNames(
    "input",
    fed.map(({ name }) => name),
  );
  const nodes = fed.flatMap((info) => {
    const name = shownName(info.name);
    const { type, dims } = tensorInput(info, name);
    const shape = dims.map((d) => d.dimValue ?? 1);
    if (shape.includes(0)) {
      notes.push(`the input "${name}" has no elements and is ignored`);
      names.define(info.name, { kind: "known", type, shape, values: [] });
      return [];
    }
    if (constants && Object.hasOwn(constants, info.name)) {
      names.define(info.name, constantInput(name, type, dims, constants[info.name]!));
      return [];
    }
    const named = namedDimensions(name, dims, rolesOf(graph, info.name), open);
    notes.push(...named.notes);
    if (type.bits === 64 && type.range)
      notes.push(`the input "${name}" is ${type.name} in the file, and ${type.dtype} here`);
    const node = ops.input(called.of(info.name), type.dtype, named.axes);
    names.define(info.name, inputValue(type, named.axes, node));
    return [node];
  });
  open.requireAllUsed();
  return { nodes, notes: [...notes, ...called.notes, ...open.notes] };
}

/** Throws UsageError for constants that are not inputs of the file. */
function requireConstants(given: readonly string[], graph: GraphMessage, stored: ReadonlySet<string>): void {
  const known = graph.input.map(({ name }) => name).filter((name) => !stored.has(name));
  const unknown = given.filter((name) => !known.includes(name));
  const told = unknown.map((name) => `the file has no input "${shownName(name)}"${didYouMean(name, known)}`);
  if (told.length > 0)
    throw new UsageError(
      `${told.join("\n")}\n  hint: only inputs of the file can be constants: ${known.map(shownName).join(", ") || "it has none"}`,
    );
}

/** An input's declared type. Throws UnsupportedError if it is not a tensor or has no shape. */
function tensorInput(info: ValueInfo, name: string): { type: ElementType; dims: readonly DimMessage[] } {
  const given = info.type?.tensorType;
  if (!given) throw new UnsupportedError(`the input "${name}" is not a tensor; only tensors are supported`);
  const type = elementType(given.elemType, `the input "${name}"`);
  if ((given.shape?.dim.length ?? 0) > mostDimensions)
    throw new UnsupportedError(`the input "${name}" has too many dimensions`);
  if (!given.shape) throw new UnsupportedError(`the input "${name}" has an unknown number of dimensions`);
  const negative = given.shape.dim.find(({ dimValue = 0 }) => dimValue < 0 && dimValue !== unknownSize);
  if (negative) throw new FileError(`the input "${name}" has a dimension of ${negative.dimValue} elements`);
  return { type, dims: given.shape.dim };
}

function constantInput(
  name: string,
  type: ElementType,
  dims: readonly DimMessage[],
  elements: ArrayLike<number>,
): Value {
  const shape = dims.map((d) => d.dimValue ?? 0);
  const values = Array.from(elements, Number);
  const count = shape.reduce((n, d) => n * d, 1);
  if (values.length !== count)
    throw new UsageError(`the input "${name}" is [${shape}], but its constant has ${values.length} elements`);
  return { kind: "known", type, shape, values };
}

/** A graph input as a tensor, with size-1 axes dropped. */
function inputValue(type: ElementType, axes: readonly Axis[], node: Node): Value {
  const inner = axes.filter((a) => a.size === 1).reduce((x, a) => ops.dropAxis(x, a.name), node);
  return tensor(
    type,
    axes.map((a) => a.size),
    axes.map((a) => a.name),
    inner,
  );
}

/** A size that an option gives by others, such as "tokens" or "32*rows". Throws UsageError for any other text. */
function sizeOfText(name: string, text: string): Dim {
  const size = polynomialOf(text, symbol);
  if (size !== undefined && size !== 0) return size;
  throw new UsageError(
    `the size "${name}" is "${text}"; expected a positive integer, a name, or a sum of products such as 32*rows`,
  );
}

/** The file's symbolic sizes by name: numbers if the options bind them, else symbols. */
class OpenSizes implements DimensionSizes {
  readonly notes: string[] = [];
  readonly #given: NonNullable<ImportOptions["sizes"]>;
  readonly #found = new Map<string, Dim>();
  /** Names for texts that are neither names nor sums of products, by text. */
  readonly #invented = new Map<string, string>();
  readonly #texts: ReadonlySet<string>;

  constructor(given: ImportOptions["sizes"], inputs: readonly ValueInfo[]) {
    this.#given = given ?? {};
    const dims = inputs.flatMap((info) => info.type?.tensorType?.shape?.dim ?? []);
    this.#texts = new Set(dims.flatMap(({ dimParam }) => namesIn(dimParam)));
  }

  ofText(text: string): Dim {
    return polynomialOf(text, (name) => this.shared(name)) ?? this.shared(this.#nameFor(text));
  }

  /** Different texts are different sizes. */
  #nameFor(text: string): string {
    const known = this.#invented.get(text);
    if (known !== undefined) return known;
    const name = this.#free(identifier(text));
    this.#invented.set(text, name);
    this.notes.push(`the size "${name}" is "${shownName(text)}" in the file`);
    return name;
  }

  own(name: string): Dim {
    return this.shared(this.#free(name));
  }

  #free(name: string): string {
    return unlike(name, [...this.#texts, ...this.#invented.values(), ...this.#found.keys()]);
  }

  shared(name: string): Dim {
    const known = this.#found.get(name);
    if (known !== undefined) return known;
    const given = Object.hasOwn(this.#given, name) ? this.#given[name] : undefined;
    if (typeof given === "number" && !(Number.isSafeInteger(given) && given >= 1))
      throw new UsageError(`the size "${name}" is ${given}; expected a positive integer`);
    const size = typeof given === "string" ? sizeOfText(name, given) : (given ?? symbol(name));
    this.#found.set(name, size);
    return size;
  }

  /** Throws UsageError for an option that names no size of the file. */
  requireAllUsed(): void {
    const known = [...this.#found.keys()];
    const stray = Object.keys(this.#given).find((name) => !known.includes(name));
    if (stray === undefined) return;
    const has = known.length === 0 ? "none" : known.join(", ");
    throw new UsageError(`the file has no symbolic size "${stray}"${didYouMean(stray, known) || "."} It has ${has}.`);
  }
}
