/**
 * A range that a run stores over a state: in place where nothing else needs what was there, whatever its size and
 * start.
 */
import { describe, expect, it } from "vitest";
import { printPlan } from "../../compiler/fusion/index.ts";
import { samePlan } from "../../compiler/fusion/same-plan.ts";
import { parsePlan } from "../../compiler/fusion/text/parse-plan.ts";
import { compileKernels, dimValue, type Graph, makeGraph, type Node, ops, symbol } from "../../compiler/index.ts";
import { fuseForUpdates } from "../../compiler/lowering/index.ts";
import { runProgram } from "../../compiler/pipelines/run-program.ts";
import { adapters } from "./support.ts";

const capacity = symbol("capacity");
const tokens = symbol("tokens", { max: 16 });
const [batch, width] = [
  { name: "batch", size: 2 },
  { name: "width", size: 3 },
];
const places = { name: "place", size: capacity };
const state = ops.state("cache", "f32", [batch, places, width]);
const start = ops.input("start", "i32", []);
const given = ops.input("given", "f32", [batch, { name: "place", size: tokens }, width]);
/** Products, so that the range is what a kernel with a core stores; the weight turns nothing but order. */
const turned = ops.rename(
  ops.contract(given, ops.input("w", "f32", [width, { name: "out", size: 3 }]), ["width"]),
  "out",
  "width",
);

/** The state after a range is stored over it, and sums of it; `also` may read the state as it was. */
function updating(range: Node, also?: (state: Node) => Node): Graph {
  const next = ops.overwrite(state, range, start, "place");
  const outputs = [
    { name: "next", node: next },
    { name: "sums", node: ops.reduceSum(next, ["place"]) },
    ...(also ? [{ name: "also", node: also(state) }] : []),
  ];
  return makeGraph("updating", outputs, [], { next: "cache" });
}

const sizesOf = (c: number, t: number) => ({ capacity: c, tokens: t });
const w = [0, 0, 1, 1, 0, 0, 0, 1, 0]; // element i of a row goes to another place
const turn = [1, 2, 0];

/** What the state is after the run, said with loops. */
function expected(
  old: readonly number[],
  added: readonly number[],
  from: number,
  c: number,
  t: number,
  isTurned: boolean,
) {
  const out = [...old];
  for (let b = 0; b < 2; b++)
    for (let i = 0; i < t; i++)
      for (let k = 0; k < 3; k++) {
        const to = from + i;
        const value = added[(b * t + i) * 3 + (isTurned ? turn[k]! : k)]!;
        if (to >= 0 && to < c) out[(b * c + to) * 3 + k] = value;
      }
  return out;
}

describe.each(Object.keys(adapters))("a range over a state, on a %s adapter", (adapter) => {
  const facts = adapters[adapter]!;

  it.each([
    ["as it is given", given, false],
    ["from a product", turned, true],
  ] as const)("%s is all that is written, at every start", (_, range, isTurned) => {
    const program = compileKernels(updating(range), facts);
    expect(program.plan.copies).toEqual([]);
    const writers = program.kernels.filter((k) =>
      k.bindings.some((b, i) => b.root === state && k.kernel.buffers[i]!.access === "read_write"),
    );
    expect(writers).toHaveLength(1);
    expect(dimValue(writers[0]!.bytesWritten, sizesOf(1000, 5))).toBe(2 * 5 * 3 * 4);
    for (const [c, t, from] of [
      [7, 2, 3],
      [7, 5, 5],
      [4, 3, -2],
      [9, 16, 0],
      [3, 16, -5],
      [6, 1, 6],
    ] as const) {
      const old = Array.from({ length: 2 * c * 3 }, (_, i) => 100 + i);
      const added = Array.from({ length: 2 * t * 3 }, (_, i) => i + 1);
      const run = runProgram(
        program,
        new Map([
          ["cache", old],
          ["given", added],
          ["start", [from]],
          ["w", w],
        ]),
        sizesOf(c, t),
      );
      const next = expected(old, added, from, c, t, isTurned);
      expect([...run.inputs.get("cache")!], `${t} from ${from} of ${c}`).toEqual(next);
      const sums = [0, 1].flatMap((b) =>
        [0, 1, 2].map((k) => next.reduce((n, x, i) => (i % 3 === k && Math.floor(i / (3 * c)) === b ? n + x : n), 0)),
      );
      expect([...run.outputs.get("sums")!]).toEqual(sums);
    }
  });

  it("is put in a new tensor where something else reads the state as it was", () => {
    const program = compileKernels(
      updating(turned, (s) => ops.reduceMax(s, ["place"])),
      facts,
    );
    const old = Array.from({ length: 2 * 7 * 3 }, (_, i) => 100 + i);
    const added = Array.from({ length: 2 * 2 * 3 }, (_, i) => i + 1);
    const run = runProgram(
      program,
      new Map([
        ["cache", old],
        ["given", added],
        ["start", [6]],
        ["w", w],
      ]),
      sizesOf(7, 2),
    );
    expect([...run.inputs.get("cache")!]).toEqual(expected(old, added, 6, 7, 2, true));
    expect([...run.outputs.get("also")!]).toEqual([118, 119, 120, 139, 140, 141]);
  });

  it("reads back from the text of its plan", () => {
    const plan = fuseForUpdates(updating(turned), facts);
    const text = printPlan(plan);
    expect(text).toMatch(/stores %\w+ in %\w+ axis place at 0 from %\w+/);
    expect(samePlan(plan, parsePlan(text))).toBe(true);
  });
});
