/**
 * Random graphs with repetition and occasional irregularities, to test which statements the printer rolls into loops.
 */
import { type Graph, makeGraph, type Node, ones, ops } from "../../compiler/index.ts";
import type { Choose } from "./random-graph.ts";

const axes = [{ name: "a", size: 2 }];

/** A statement of the recipe: its op, and how far back its operands are. */
interface Line {
  readonly op: (a: Node, b: Node) => Node;
  readonly back: readonly [number, number];
  /** The kind of the second operand; a parameter or number changes by iteration. */
  readonly second: "value" | "parameter" | "number";
  /** Reads an input, if there is one with that index, as in `mul %h, %x`. */
  readonly fixed: boolean;
  /** Occasionally reads a random value instead. */
  readonly astray: boolean;
}

/** Repeats a recipe of a few statements several times; up to four values are outputs. */
export function repeatedGraph(choose: Choose): Graph {
  const inputs = Array.from({ length: 1 + choose(4) }, (_, i) => ops.input(`x${i}`, "f32", axes));
  const values: Node[] = [...inputs];
  const any = () => values[choose(values.length)]!;
  const reads = (line: Line, n: number) => (line.fixed && inputs[n]) || values[Math.max(0, values.length - 1 - n)]!;
  const recipe = Array.from({ length: 1 + choose(6) }, () => randomLine(choose));
  const iterations = 3 + choose(10);
  for (let i = 0; i < iterations; i++) {
    for (const [slot, line] of recipe.entries()) {
      const { op, back, second, astray } = line;
      const a = astray && choose(4) === 0 ? any() : reads(line, back[0]);
      const b =
        second === "value"
          ? reads(line, back[1])
          : second === "number"
            ? ops.constant(choose(3))
            : ops.parameter(`blocks.${i}.w${slot}`, "f32", axes, ones);
      values.push(op(a, b));
    }
  }
  const roots = new Set([values.at(-1)!, any(), any(), ops.concat([any(), any(), ...values.slice(-choose(20))], "a")]);
  return makeGraph(
    "repeated",
    [...roots].map((node, i) => ({ name: `y${i}`, node })),
    inputs,
  );
}

const randomLine = (choose: Choose): Line => ({
  op: [ops.add, ops.mul, ops.sub][choose(3)]!,
  back: [choose(8), choose(8)],
  second: (["value", "value", "number", "number", "parameter"] as const)[choose(5)]!,
  fixed: choose(3) === 0,
  astray: choose(4) === 0,
});
