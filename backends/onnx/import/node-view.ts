/** A record's view of one node: its operands and attributes, with helpers that turn them into tensors. */
import { type Dim, type Node, ops, subDims, termsOf, UnsupportedError } from "../../../compiler/index.ts";
import { type AttributeField, attributeTypeFault } from "./attributes.ts";
import { DataDependentError } from "./data-dependent.ts";
import { type ElementType, isFloatType } from "./elements.ts";
import { shownName } from "./file-names.ts";
import type { Attribute, GraphMessage, NodeMessage } from "./messages.ts";
import {
  freshName,
  isNumbers,
  type Known,
  known,
  knownOf,
  type Operand,
  renamed,
  type Tensor,
  tensor,
  typeOf,
  type Value,
  type Weight,
} from "./values.ts";
import { fileTensor, knownTensor, numbersOf } from "./weights.ts";

/** Services of the importer that records may use. */
export interface Surroundings {
  /** Declares a weight's parameter with these axes, or renames the axes of the existing one. */
  readonly parameter: (
    weight: Weight,
    shape: readonly Dim[],
    names: readonly (string | undefined)[],
    role?: "buffer",
  ) => Node;
  /** The opset version of a domain. */
  readonly opset: (domain: string) => number;
  /** Builds a subgraph attribute for the given inputs and returns its outputs; outer names are visible inside. */
  readonly subgraph: (graph: GraphMessage, inputs: readonly Operand[]) => Operand[];
}

export class NodeView {
  readonly message: NodeMessage;
  readonly operands: readonly (Operand | undefined)[];
  /** The operands that are tensors. */
  readonly inputs: readonly (Value | undefined)[];
  readonly around: Surroundings;
  readonly opset: number;
  readonly #attributes: ReadonlyMap<string, Attribute>;

  constructor(message: NodeMessage, operands: readonly (Operand | undefined)[], around: Surroundings) {
    this.message = message;
    this.operands = operands;
    this.inputs = operands.map((value) => (value?.kind === "sequence" ? undefined : value));
    this.around = around;
    this.opset = message.opset ?? around.opset(message.domain);
    this.#attributes = new Map(message.attribute.map((a) => [a.name, a]));
  }

  /** The same node with other operands, for an operator that reuses another's record. */
  with(inputs: readonly (Value | undefined)[]): NodeView {
    return new NodeView(this.message, inputs, this.around);
  }

  fail(why: string): UnsupportedError {
    return new UnsupportedError(why);
  }

  /** For a result, or a size of it, that only the data tell. */
  dataDependent(why: string): UnsupportedError {
    return new DataDependentError(why);
  }

  /** Tells the user how to set the symbols of these sizes. */
  toGive(...sizes: readonly Dim[]): string {
    const symbols = sizes.flatMap(termsOf).flatMap((t) => t.symbols);
    const names = [...new Set(symbols.map((s) => shownName(s.name)))];
    const [first] = names;
    if (first === undefined) return "set the symbolic sizes when importing";
    const [, second] = names;
    const equal = second === undefined ? "" : `; or ${second}=${first} if they are equal`;
    return `set ${names.join(" and ")} when importing, as in ${first}=640 (--size ${first}=640, or --set ${first}=640 for a command that takes the file itself, or sizes: { ${first}: 640 } in a program)${equal}`;
  }

  /** An operand of any kind. Throws if it is missing. */
  operand(i: number): Operand {
    const value = this.operands[i];
    if (!value) throw this.fail(`input ${i} is missing`);
    return value;
  }

  /** An operand that is a tensor. Throws if it is missing, or a sequence. */
  in(i: number): Value {
    const value = this.operand(i);
    if (value.kind === "sequence") throw this.fail(`input ${i} is a sequence; expected a tensor`);
    return value;
  }

  /** The tensors of an operand that is a sequence. Throws if it is missing, or a tensor. */
  sequence(i: number): readonly Value[] {
    const value = this.operand(i);
    if (value.kind !== "sequence") throw this.fail(`input ${i} is a tensor; expected a sequence`);
    return value.items;
  }

  wants(output: number): boolean {
    return (this.message.output[output] ?? "") !== "";
  }

  has(name: string): boolean {
    return this.#attributes.has(name);
  }

  /**
   * The attribute of this name and type; undefined if the node lacks it. Throws if it is of another type: the default
   * in its place would be a wrong value. Files of IR version 1 do not give types.
   */
  #attribute(name: string, field: AttributeField): Attribute | undefined {
    const found = this.#attributes.get(name);
    const fault = found && attributeTypeFault(found, field);
    if (fault) throw this.fail(fault);
    return found;
  }

  /** A number of an attribute. Writers of proto3 leave out a 0, and only the type says that there is one. */
  #number(name: string, type: "i" | "f", otherwise: number | undefined): number {
    const found = this.#attribute(name, type);
    const value = found ? (found[type] ?? (found.type === 0 ? otherwise : 0)) : otherwise;
    if (value === undefined) throw this.fail(`the attribute ${name} is missing`);
    return value;
  }

  int(name: string, otherwise?: number): number {
    return this.#number(name, "i", otherwise);
  }

  /** An integer that is 0 or 1. Throws for others: runtimes disagree on which of the two they mean. */
  flag(name: string, otherwise = false): boolean {
    const value = this.int(name, Number(otherwise));
    if (value === 0 || value === 1) return value === 1;
    throw this.fail(`the attribute ${name} is ${value}; expected 0 or 1`);
  }

  float(name: string, otherwise?: number): number {
    return this.#number(name, "f", otherwise);
  }

  text(name: string, otherwise: string): string {
    const value = this.#attribute(name, "s")?.s;
    return value === undefined ? otherwise : shownName(new TextDecoder().decode(value));
  }

  /** A string that is one of several. */
  choice<Choice extends string>(name: string, otherwise: Choice, choices: readonly Choice[]): Choice {
    const given = this.text(name, otherwise);
    const found = choices.find((choice) => choice === given);
    if (found !== undefined) return found;
    throw this.fail(`the attribute ${name} is "${given}"; expected one of ${choices.join(", ")}`);
  }

  texts(name: string): readonly string[] | undefined {
    const { strings = [] } = this.#attribute(name, "strings") ?? {};
    return strings.length === 0 ? undefined : strings.map((s) => shownName(new TextDecoder().decode(s)));
  }

  ints(name: string): readonly number[] | undefined {
    return this.#attribute(name, "ints")?.ints;
  }

  floats(name: string): readonly number[] | undefined {
    return this.#attribute(name, "floats")?.floats;
  }

  graph(name: string): GraphMessage {
    const found = this.#attribute(name, "g")?.g;
    if (!found) throw this.fail(`the attribute ${name} is missing`);
    return found;
  }

  /** A tensor attribute as a constant. */
  knownAttribute(name: string): Known | undefined {
    const message = this.#attribute(name, "t")?.t;
    if (!message) return undefined;
    const found = fileTensor(message, undefined);
    if (!found.values) throw this.fail(`the attribute ${name} is stored in another file, which is not supported`);
    return knownTensor(found, found.values());
  }

  /** The constant value of an optional operand; undefined if absent. Throws if it is not constant. */
  maybeKnown(i: number, what: string): Known | undefined {
    const value = this.inputs[i];
    if (!value) return undefined;
    const found = knownOf(value);
    if (!found) throw this.dataDependent(`${what} is computed at run time, but must be a constant to import the model`);
    return found;
  }

  /** The constant value of a required operand. */
  knownIn(i: number, what: string): Known {
    const found = this.maybeKnown(i, what);
    if (!found) throw this.fail(`${what} is missing`);
    return found;
  }

  /** Its numbers; at least one. */
  numbersIn(i: number, what: string): [number, ...number[]] {
    const found = this.numbers(i, what);
    if (!found) throw this.fail(`${what} is missing`);
    if (found.length === 0) throw this.fail(`${what} is empty`);
    return found as [number, ...number[]];
  }

  /** Its sizes, possibly symbolic. */
  sizesIn(i: number, what: string): Dim[] {
    const found = this.sizes(i, what);
    if (!found) throw this.fail(`${what} is missing`);
    return found;
  }

  /** The numbers of an optional constant operand, which is a list or a scalar. */
  numbers(i: number, what: string): number[] | undefined {
    const found = this.#listIn(i, what);
    return found && numbersOf(found, what);
  }

  /** The number of an optional constant operand, which has one element. */
  number(i: number, what: string): number | undefined {
    const found = this.numbers(i, what);
    if (found && found.length !== 1) throw this.fail(`${what} has ${found.length} elements; expected one`);
    return found?.[0];
  }

  /** The number of a required constant operand. */
  numberIn(i: number, what: string): number {
    const found = this.number(i, what);
    if (found === undefined) throw this.fail(`${what} is missing`);
    return found;
  }

  #listIn(i: number, what: string): Known | undefined {
    const found = this.maybeKnown(i, what);
    if (!found || found.shape.length <= 1) return found;
    throw this.fail(`${what} is a tensor of [${found.shape.join(", ")}]; expected a list`);
  }

  /** The sizes in an optional constant operand, possibly symbolic. */
  sizes(i: number, what: string): Dim[] | undefined {
    const found = this.#listIn(i, what);
    return found && Array.from(found.values);
  }

  /** Integers given as an operand, or in older opsets as an attribute. */
  list(name: string, i: number): number[] | undefined {
    return this.numbers(i, name) ?? (this.ints(name) && [...this.ints(name)!]);
  }

  /** Normalizes a possibly negative dimension. Throws if it is out of range. */
  dim(axis: number, rank: number): number {
    const at = axis < 0 ? axis + rank : axis;
    if (Number.isInteger(at) && at >= 0 && at < rank) return at;
    throw this.fail(`axis ${axis} is out of range for ${rank} dimensions`);
  }

  /** Normalizes several, which must be distinct. */
  dims(axes: readonly number[], rank: number): number[] {
    const found = axes.map((a) => this.dim(a, rank));
    if (new Set(found).size === found.length) return found;
    throw this.fail(`the axes ${axes.join(", ")} are not distinct`);
  }

  /** A value's node with its dimensions named; names of size-1 dimensions are ignored. */
  named(value: Value, names: readonly (string | undefined)[], role?: "buffer"): Node {
    if (names.length !== value.shape.length || value.shape.some((size, i) => size !== 1 && names[i] === undefined))
      throw this.fail(`a tensor of [${value.shape.join(", ")}] does not match its other inputs`);
    if (value.kind === "tensor") return renamed(value.node, value.axes, names);
    if (value.kind === "known") return this.#constant(value, names);
    const kept = value.type.range ? "buffer" : (value.weight.role ?? role); // integers are not trainable
    const node = this.around.parameter(value.weight, value.shape, names, kept);
    return value.type.dtype === "f32" ? node : ops.cast(node, value.type.dtype);
  }

  #constant(value: Known, names: readonly (string | undefined)[]): Node {
    const type = typeOf(value, names);
    const { dtype } = value.type;
    const { values } = value;
    if (values.length === 0)
      throw this.fail("empty tensors are supported only as lists of sizes and as parts of a concatenation");
    if (!isNumbers(values)) return this.#openSizes(value, names);
    const fitting = Array.from(values, (v) => fitted(dtype, v));
    if (type.axes.length === 0) return ops.constant(fitting[0]!, dtype);
    if (fitting.every((v) => Object.is(v, fitting[0])))
      return ops.broadcast(ops.constant(fitting[0]!, dtype), type.axes);
    return ops.table(fitting, type.axes, dtype);
  }

  /** Symbolic sizes as a tensor: an arithmetic progression, or the concatenation of single sizes. */
  #openSizes(value: Known, names: readonly (string | undefined)[]): Node {
    const { axes, dtype } = typeOf(value, names);
    const sizes = Array.from(value.values);
    const step = sizes.length > 1 ? subDims(sizes[1]!, sizes[0]!) : 0;
    const isEven = sizes.every((v, i) => i === 0 || subDims(v, sizes[i - 1]!) === step);
    if (isEven && step === 0) return ops.broadcast(ops.sizeOf(sizes[0]!, dtype), axes);
    if (isEven && axes.length === 1) {
      const places = ops.iota({ name: axes[0]!.name, size: sizes.length }, dtype);
      return ops.add(ops.mul(places, ops.sizeOf(step, dtype)), ops.sizeOf(sizes[0]!, dtype));
    }
    if (axes.length > 1) throw this.fail("symbolic sizes in a constant of several dimensions are not supported");
    if (sizes.length > mostSizes)
      throw this.fail(`a constant of ${sizes.length} symbolic sizes is not supported; at most ${mostSizes} are`);
    const parts = sizes.map((v) => ops.sizeOf(v, dtype));
    const { name } = axes[0]!;
    return ops.concat(
      parts.map((p) => ops.broadcast(p, [{ name, size: 1 }])),
      name,
    );
  }

  /**
   * A value as a graph tensor. Unnamed axes are named after `base`, avoiding the names in `taken`.
   */
  tensor(value: Value, base: readonly string[] = [], taken: readonly (string | undefined)[] = []): Tensor {
    if (value.kind === "tensor") return value;
    const names: string[] = [];
    for (let i = 0; i < value.shape.length; i++)
      names.push(freshName(base[i] ?? base.at(-1) ?? "axis", [...taken, ...names]));
    return tensor(value.type, value.shape, names, this.named(value, names));
  }

  /** An operand as a tensor. */
  x(i: number, base: readonly string[] = [], taken: readonly (string | undefined)[] = []): Tensor {
    return this.tensor(this.in(i), base, taken);
  }

  /** A float operand; throws for other types. */
  floatsIn(i: number): Value {
    const value = this.in(i);
    if (isFloatType(value.type)) return value;
    throw this.fail(`input ${i} is ${value.type.name}; expected floats`);
  }

  /** An integer operand; throws for other types. */
  integersIn(i: number): Value {
    const value = this.in(i);
    if (value.type.range) return value;
    throw this.fail(`input ${i} is ${value.type.name}; expected integers`);
  }

  scalar(type: ElementType, value: number): Known {
    return known(type, [], [value]);
  }
}

/** Limit on the different sizes of a list, each of which is a node. */
const mostSizes = 1024;

/** Saturates a 64-bit constant to the dtype's 32-bit range. */
function fitted(dtype: Node["type"]["dtype"], value: number): number {
  if (dtype === "i32") return Math.min(Math.max(value, -(2 ** 31)), 2 ** 31 - 1);
  if (dtype === "u32") return Math.min(Math.max(value, 0), 2 ** 32 - 1);
  return value;
}

/** A tensor with other dimensions, by default of the same node. */
export const withShape = (
  x: Tensor,
  dims: readonly (readonly [size: Dim, axis: string | undefined])[],
  node: Node = x.node,
  type: ElementType = x.type,
): Tensor =>
  tensor(
    type,
    dims.map(([size]) => size),
    dims.map(([, axis]) => axis),
    node,
  );
