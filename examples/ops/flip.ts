/** A movement added from outside: one index map in one file. docs/adding-an-op.md walks through it. */
import {
  build,
  findAxis,
  type Indexing,
  type NamedAxis,
  ops,
  subDims,
  type Typed,
  tensorType,
  typed,
} from "../../compiler/index.ts";

const { gather, iota, movement, rename, requireAxes, sizeOf, sub } = ops;

const rows = tensorType("f32", [
  { name: "a", size: 3 },
  { name: "b", size: 5 },
]);

/** The last element first. */
export const flip: ops.Builder<<A extends string, K extends A>(x: Typed<A>, along: NamedAxis<K>) => Typed<A>> =
  movement({
    name: "flip",
    doc: { summary: "The elements of one axis in the opposite order." },
    operands: ["x"],
    attrs: { axis: { kind: "axis" } },
    constraints: { C1: "the axis is an axis of x" },
    infer: ([x], { axis }) => {
      requireAxes(x!, [axis as string], "C1", "x");
      return x!;
    },
    indexMap: ([x], attrs) => {
      const { name, size } = findAxis(x!, attrs.axis as string)!;
      const opposite: Indexing = (a, at) => ({ [name]: a.sub(a.dim(subDims(size, 1)), at(name)) });
      return { sources: [{ index: opposite }], inverse: opposite };
    },
    gradient: ({ attrs }, dy) => [build("flip", [dy], attrs)],
    decompose: ([x], { axis }) => {
      const { name, size } = findAxis(x!.type, axis as string)!;
      const there = { name: `${name}_there`, size };
      const index = sub(sizeOf(subDims(size, 1), "i32"), iota(there));
      return rename(gather(x!, index, name), there.name, name);
    },
    cases: [
      { operands: [rows], attrs: { axis: "a" } },
      { operands: [rows], attrs: { axis: "b" } },
    ],
    builder: (x, along) => typed(build("flip", [x], { axis: along.name })),
  });
