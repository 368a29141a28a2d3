/**
 * What movements mean, written out. The interpreter and the kernels follow one index map, so a wrong map would agree
 * with itself: these values do not come from it. (Nor do ONNX's operators; see test/onnx/ops.test.ts.)
 */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { build, type Node, opRecords, ops } from "../../compiler/index.ts";
import { indexMapOf, isAffine, isBijective } from "../../compiler/ir/op.ts";
import { graphOf, inputsOf } from "../support/samples.ts";

/** 0 to 5, as 0 1 2 / 3 4 5. */
const x = ops.input("x", "f32", [
  { name: "a", size: 2 },
  { name: "b", size: 3 },
]);
const y = ops.input("y", "f32", [{ name: "b", size: 6 }]);
const rows = [
  { name: "r", size: 3 },
  { name: "c", size: 2 },
];

const meanings: readonly (readonly [string, Node, readonly number[]])[] = [
  ["rename", ops.rename(x, "b", "n"), [0, 1, 2, 3, 4, 5]],
  ["split", ops.transpose(ops.split(y, "b", rows), ["c", "r"]), [0, 2, 4, 1, 3, 5]],
  ["merge, the first axis slowest", ops.merge(x, ["a", "b"], "m"), [0, 1, 2, 3, 4, 5]],
  ["merge, the last axis slowest", ops.merge(x, ["b", "a"], "m"), [0, 3, 1, 4, 2, 5]],
  ["slice", ops.slice(x, "b", 1, 2), [1, 2, 4, 5]],
  ["pad", ops.pad(x, "b", 1, 2, 9), [9, 0, 1, 2, 9, 9, 9, 3, 4, 5, 9, 9]],
  ["concat", ops.concat([x, ops.slice(x, "b", 2, 1), x], "b"), [0, 1, 2, 2, 0, 1, 2, 3, 4, 5, 5, 3, 4, 5]],
  ["transpose", ops.transpose(x, ["b", "a"]), [0, 3, 1, 4, 2, 5]],
  ["window", ops.window(y, "b", "o", { name: "k", size: 3 }, 2), [0, 1, 2, 2, 3, 4]],
  ["window, dilated", ops.window(y, "b", "o", { name: "k", size: 2 }, 1, 3), [0, 3, 1, 4, 2, 5]],
  ["window, a part of x for each k", ops.window(x, "b", "o", { name: "a", size: 2 }), [0, 4, 1, 5]],
  [
    "transposed window",
    ops.transposedWindow(x, "b", { name: "i", size: 4 }, { name: "k", size: 2 }),
    [0, 0, 1, 0, 2, 1, 0, 2, 3, 0, 4, 3, 5, 4, 0, 5],
  ],
  [
    "transposed window, a stride and a part of x for each k",
    ops.transposedWindow(x, "b", { name: "i", size: 4 }, { name: "a", size: 2 }, { stride: 2, low: 1 }),
    [0, 3, 1, 0, 0, 4, 2, 0],
  ],
  ["broadcast", ops.broadcast(x, [{ name: "n", size: 2 }]), [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]],
];

describe("a movement's elements", () => {
  it.each(meanings)("%s", (_, node, want) => {
    const data = Float64Array.from([0, 1, 2, 3, 4, 5]);
    const values = new Map([
      ["x", data],
      ["y", data],
    ]);
    const inputs = [x, y].filter((n) => node.operands.some((o) => o === n || o.operands.includes(n)));
    expect([...evaluate(graphOf("g", inputs, node), values).get("y")!.data]).toEqual(want);
  });

  it("are written out for every movement there is", () => {
    const covered = meanings.flatMap(([, node]) => [node.op, ...node.operands.map((o) => o.op)]);
    const all = opRecords().filter((r) => r.kind === "movement");
    expect(all.map((r) => r.name).filter((n) => !covered.includes(n))).toEqual([]);
  });
});

describe("the classes of movements follow from their maps", () => {
  const nodes = opRecords()
    .filter((r) => r.kind === "movement")
    .map((r) => build(r.name, inputsOf(r.cases[0]!), r.cases[0]!.attrs));
  const namesOf = (some: (n: Node) => boolean) => nodes.filter(some).map((n) => n.op);

  it("each element once: names, shapes and orders", () => {
    expect(namesOf(isBijective)).toEqual(["merge", "rename", "split", "transpose"]);
  });

  it("one element each: also parts, repetitions and windows", () => {
    expect(namesOf(isAffine)).toEqual(["broadcast", "merge", "rename", "slice", "split", "transpose", "window"]);
  });

  it("a map has a source for each operand", () => {
    for (const n of nodes) expect(indexMapOf(n)!.sources.length).toBe(n.operands.length);
  });
});
