/** Symbolic sizes at run time: symbols are read from input shapes, and their sums and products are computed. */
import {
  type Dim,
  inputName,
  type Node,
  type SizeSymbol,
  subDims,
  symbolsOf,
  type Term,
  termsOf,
  UnsupportedError,
} from "../../../compiler/index.ts";
import { type Emission, emit, integers, scalar } from "./emission.ts";

/** A size as a one-element i64 tensor. Throws UnsupportedError if no input determines a symbol. */
export function dimTensor(e: Emission, dim: Dim): string {
  if (typeof dim === "number") return integers(e, [dim]);
  return readWhole(e, dim) ?? sumOf(e, termsOf(dim), symbolTensor);
}

/** A size as an i64 scalar. */
export const scalarDim = (e: Emission, dim: Dim): string =>
  typeof dim === "number" ? scalar(e, "i64", dim) : emit(e, "Squeeze", [dimTensor(e, dim)]);

/** Reads a size directly if an input dimension equals it, or differs by a constant. */
function readWhole(e: Emission, dim: Dim): string | undefined {
  const near = e.graph.inputs.flatMap((input) =>
    e.kinds.get(input) === "fed"
      ? input.type.axes.map((a, index) => ({ input, index, difference: subDims(dim, a.size) }))
      : [],
  );
  const found = near.find((n) => n.difference === 0) ?? near.find((n) => typeof n.difference === "number");
  if (!found) return undefined;
  const read = shapeOf(e, found.input, found.index);
  return found.difference === 0 ? read : emit(e, "Add", [read, integers(e, [found.difference as number])]);
}

const shapeOf = (e: Emission, input: Node, index: number): string =>
  emit(e, "Shape", [inputName(input)], { start: index, end: index + 1 });

type SymbolReader = (e: Emission, symbol: SizeSymbol) => string;

function sumOf(e: Emission, terms: readonly Term[], read: SymbolReader): string {
  const parts = terms.map(({ coefficient, symbols }) => {
    const names = symbols.map((f) => read(e, f));
    if (names.length === 0) return integers(e, [coefficient]);
    const product = names.reduce((a, b) => emit(e, "Mul", [a, b]));
    return coefficient === 1 ? product : emit(e, "Mul", [product, integers(e, [coefficient])]);
  });
  return parts.reduce((a, b) => emit(e, "Add", [a, b]), parts.shift() ?? integers(e, [0]));
}

/** A dimension of a fed input from which a symbol can be computed. */
interface Sighting {
  readonly input: Node;
  readonly index: number;
  /** The dimension is coefficient · symbol + rest. */
  readonly coefficient: number;
  readonly rest: readonly Term[];
}

function sightings(e: Emission, symbol: SizeSymbol): Sighting[] {
  return e.graph.inputs.flatMap((input) => {
    if (e.kinds.get(input) !== "fed") return [];
    return input.type.axes.flatMap((axis, index) => {
      if (!symbolsOf(axis.size).includes(symbol)) return [];
      const terms = termsOf(axis.size);
      const own = terms.filter((t) => t.symbols.includes(symbol));
      if (own.length !== 1 || own[0]!.symbols.length !== 1) return [];
      return [{ input, index, coefficient: own[0]!.coefficient, rest: terms.filter((t) => t !== own[0]) }];
    });
  });
}

const symbolTensor: SymbolReader = (e, symbol) => readSymbol(e, symbol, []);

/** Uses the simplest sighting whose other symbols can be computed without this one. */
function readSymbol(e: Emission, symbol: SizeSymbol, pending: readonly SizeSymbol[]): string {
  const found = sightings(e, symbol)
    .filter((s) => s.rest.every((t) => t.symbols.every((f) => f !== symbol && !pending.includes(f))))
    .sort((a, b) => a.rest.length - b.rest.length || Math.abs(a.coefficient) - Math.abs(b.coefficient))[0];
  if (!found) {
    throw new UnsupportedError(
      `graph @${e.graph.name}: the size "${symbol.name}" is not a dimension of an input, so an ONNX model cannot compute it; bind it to a number`,
    );
  }
  const dim = shapeOf(e, found.input, found.index);
  const known = sumOf(e, found.rest, (_, s) => readSymbol(e, s, [...pending, symbol]));
  const difference = found.rest.length === 0 ? dim : emit(e, "Sub", [dim, known]);
  return found.coefficient === 1 ? difference : emit(e, "Div", [difference, integers(e, [found.coefficient])]);
}

/** Sizes as an i64 vector. */
export function dimsTensor(e: Emission, dims: readonly Dim[]): string {
  if (dims.every((d) => typeof d === "number")) return integers(e, dims);
  return emit(
    e,
    "Concat",
    dims.map((d) => dimTensor(e, d)),
    { axis: 0 },
  );
}
