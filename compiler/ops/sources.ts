/** Sources: constants, inputs, parameters, random inputs, positions (iota) and symbolic sizes. */
import { UsageError } from "../diagnostics/error.ts";
import { build } from "../ir/build.ts";
import { type Dim, dimValue } from "../ir/dim.ts";
import { type DType, misfit } from "../ir/dtype.ts";
import { elementCount } from "../ir/host-tensor.ts";
import type { Distribution } from "../ir/initializer.ts";
import type { AttrValue, Node } from "../ir/node.ts";
import { OpViolation } from "../ir/op.ts";
import { type Axis, printAxes, type TensorType, tensorType } from "../ir/type.ts";
import { record, scalarConstant } from "./kinds.ts";

export { scalarConstant } from "./kinds.ts";

const axesAttr = (axes: readonly Axis[]) => axes.map((a) => ({ name: a.name, size: a.size }));
const typeFrom = (attrs: { [k: string]: AttrValue }): TensorType =>
  tensorType(attrs.dtype as DType, (attrs.axes ?? []) as unknown as Axis[]);

function distinct(axes: readonly Axis[]): void {
  const seen = new Set<string>();
  for (const { name, size } of axes) {
    if (seen.has(name))
      throw new OpViolation("C1", `axis "${name}" is listed twice`, "a tensor's axes are a set: rename one");
    if (typeof size === "number" && !(Number.isInteger(size) && size >= 1)) {
      throw new OpViolation("C2", `axis "${name}" has size ${size}`, "a size is an integer of at least 1, or a symbol");
    }
    seen.add(name);
  }
}

const sourceConstraints = { C1: "axis names are distinct", C2: "sizes are positive integers or symbols" };

record({
  name: "constant",
  kind: "source",
  doc: { summary: "A value known when the graph is built: a scalar or a tensor." },
  source: "constant",
  operands: [],
  attrs: {
    value: { kind: "number", optional: true },
    values: { kind: "numbers", optional: true },
    dtype: { kind: "dtype" },
    axes: { kind: "sized_axes", optional: true },
  },
  constraints: {
    ...sourceConstraints,
    C3: "there is one value per element",
    C4: "every value fits the dtype: integers in range, finite floats without overflow",
  },
  infer: (_, attrs) => {
    const type = typeFrom(attrs);
    distinct(type.axes);
    const values = attrs.values as readonly number[] | undefined;
    if (values && values.length !== elementCount(type.axes as readonly { name: string; size: number }[])) {
      throw new OpViolation("C3", `there are ${values.length} values for ${printAxes(type.axes)}`);
    }
    for (const v of values ?? [attrs.value as number]) assertHeld(v, type.dtype);
    return type;
  },
  reference: (_, attrs) => Float64Array.from((attrs.values as number[] | undefined) ?? [attrs.value as number]),
  cases: [
    { operands: [], attrs: { value: 2.5, dtype: "f32" } },
    { operands: [], attrs: { values: [1, 2, 3], dtype: "f32", axes: [{ name: "a", size: 3 }] } },
  ],
});

function assertHeld(value: number, dtype: DType): void {
  const wrong = misfit(dtype, value);
  if (wrong) throw new OpViolation("C4", wrong.message, wrong.hint);
}

/** A scalar constant. */
export function constant(value: number, dtype: DType = "f32"): Node {
  if (misfit(dtype, value)) build("constant", [], { value, dtype }); // throws, at the user's line
  return scalarConstant(value, dtype);
}

/** A table of constants, row-major over `axes`. */
export const table = (values: readonly number[], axes: readonly Axis[], dtype: DType = "f32"): Node =>
  build("constant", [], { values, dtype, axes: axesAttr(axes) });

const noReference = (what: string) => () => {
  throw new UsageError(`a ${what} has no value of its own: give it one when the graph runs`);
};

record({
  name: "input",
  kind: "source",
  doc: {
    summary: "A tensor fed at each run or, with role state, one that the store keeps between runs.",
  },
  source: "input",
  operands: [],
  attrs: {
    name: { kind: "text" },
    dtype: { kind: "dtype" },
    axes: { kind: "sized_axes" },
    role: { kind: "word", optional: true },
  },
  constraints: sourceConstraints,
  infer: (_, attrs) => {
    const type = typeFrom(attrs);
    distinct(type.axes);
    return type;
  },
  reference: noReference("graph input"),
  cases: [],
});

/** A tensor fed at each run. */
export const input = (name: string, dtype: DType, axes: readonly Axis[]): Node =>
  build("input", [], { name, dtype, axes: axesAttr(axes) });

/** A tensor that the store keeps between runs: optimizer state, counters, caches. */
export const state = (name: string, dtype: DType, axes: readonly Axis[]): Node =>
  build("input", [], { name, dtype, axes: axesAttr(axes), role: "state" });

record({
  name: "parameter",
  kind: "source",
  doc: {
    summary:
      "A learned tensor, named by its path, with its initial distribution. With role buffer: stored with the parameters but not learned, such as running statistics.",
  },
  source: "parameter",
  operands: [],
  attrs: {
    name: { kind: "text" },
    dtype: { kind: "dtype" },
    axes: { kind: "sized_axes" },
    init: { kind: "distribution" },
    role: { kind: "word", optional: true },
  },
  constraints: { ...sourceConstraints, C3: "the role, if given, is buffer" },
  infer: (_, attrs) => {
    if (attrs.role !== undefined && attrs.role !== "buffer")
      throw new OpViolation(
        "C3",
        `the role is "${attrs.role}"`,
        'use "buffer" for a value that is not trained, and no role for one that is',
      );
    const type = typeFrom(attrs);
    distinct(type.axes);
    return type;
  },
  reference: noReference("parameter"),
  cases: [],
});

/**
 * A learned tensor or, with role "buffer", one stored with the parameters but not learned. Its name up to the last dot
 * is the module path of what is computed from it.
 */
export function parameter(
  name: string,
  dtype: DType,
  axes: readonly Axis[],
  init: Distribution,
  role?: "buffer",
): Node {
  const path = name.includes(".") ? name.slice(0, name.lastIndexOf(".")) : name;
  return build("parameter", [], { name, dtype, axes: axesAttr(axes), init: { ...init }, ...(role && { role }) }, path);
}

record({
  name: "random",
  kind: "source",
  doc: {
    summary:
      "Random numbers as a declared input, drawn from a seeded counter-based generator so that all executors see the same values.",
    source: "Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3",
  },
  source: "random",
  operands: [],
  attrs: {
    name: { kind: "text" },
    dtype: { kind: "dtype" },
    axes: { kind: "sized_axes" },
    dist: { kind: "distribution" },
  },
  constraints: sourceConstraints,
  infer: (_, attrs) => {
    const type = typeFrom(attrs);
    distinct(type.axes);
    return type;
  },
  reference: noReference("random input"),
  cases: [],
});

/** Random numbers drawn at each run. */
export const random = (name: string, axes: readonly Axis[], dist: Distribution, dtype: DType = "f32"): Node =>
  build("random", [], { name, dtype, axes: axesAttr(axes), dist: { ...dist } });

record({
  name: "iota",
  kind: "source",
  doc: { summary: "The indices 0, 1, 2, ... along one axis." },
  source: "position",
  operands: [],
  attrs: { axis: { kind: "sized_axis" }, dtype: { kind: "dtype" } },
  constraints: sourceConstraints,
  infer: (_, attrs) => {
    const axis = attrs.axis as unknown as Axis;
    distinct([axis]);
    return tensorType(attrs.dtype as DType, [axis]);
  },
  reference: (_, __, type) => Float64Array.from({ length: type.axes[0]!.size as number }, (_v, i) => i),
  cases: [{ operands: [], attrs: { axis: { name: "a", size: 5 }, dtype: "i32" } }],
});

/** The index along `axis`, from 0. */
export const iota = (axis: Axis, dtype: DType = "i32"): Node =>
  build("iota", [], { axis: { name: axis.name, size: axis.size }, dtype });

record({
  name: "size",
  kind: "source",
  doc: { summary: "A size as a scalar tensor; its value is known once its symbols are bound." },
  source: "size",
  operands: [],
  attrs: { of: { kind: "dim" }, dtype: { kind: "dtype" } },
  infer: (_, attrs) => tensorType(attrs.dtype as DType, []),
  reference: (_, attrs) => Float64Array.of(dimValue(attrs.of as Dim)),
  cases: [{ operands: [], attrs: { of: 12, dtype: "f32" } }],
});

/** A size as a scalar tensor; a constant if it is known. */
export const sizeOf = (dim: Dim, dtype: DType = "f32"): Node =>
  typeof dim === "number" ? scalarConstant(dim, dtype) : build("size", [], { of: dim, dtype });
