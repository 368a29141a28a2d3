/** Control flow: If with both branches, Loop with a constant trip count. */
import { ops } from "../../../../compiler/index.ts";
import { aligned } from "../broadcast.ts";
import { boolean, int64 } from "../elements.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { known, knownOf, tensor, type Value } from "../values.ts";
import { concatAlong } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";

/** Builds the taken branch if the condition is constant; otherwise both, and selects between their results. */
function conditional(n: NodeView): readonly Value[] {
  const condition = n.in(0);
  const decided = knownOf(condition)?.values[0];
  if (decided !== undefined) return n.around.subgraph(n.graph(decided ? "then_branch" : "else_branch"), []);
  const [yes, no] = [n.around.subgraph(n.graph("then_branch"), []), n.around.subgraph(n.graph("else_branch"), [])];
  return yes.map((a, i) => {
    const b = no[i];
    if (!b || a.shape.length !== b.shape.length || a.shape.some((d, k) => d !== b.shape[k]))
      throw n.fail(
        `its branches return [${a.shape.join(", ")}] and [${b?.shape.join(", ") ?? ""}], and the condition is only known at run time`,
      );
    const { nodes, shape, names } = aligned(n, [a, b]);
    const flag = n.named(
      condition,
      condition.shape.map(() => undefined),
    );
    return tensor(a.type, shape, names, ops.select(flag, nodes[0]!, nodes[1]!));
  });
}

/** Limit on loop iterations: loops are fully unrolled. */
const mostRounds = 256;

/** Fully unrolls a loop whose trip count and conditions are constants. */
function loop(n: NodeView): readonly (Value | undefined)[] {
  const body = n.graph("body");
  const limit = n.inputs[0] ? n.numbersIn(0, "the number of iterations")[0]! : Number.POSITIVE_INFINITY;
  let going = n.inputs[1] ? n.numbersIn(1, "the condition")[0]! !== 0 : true;
  let carried: readonly Value[] = n.inputs.slice(2).map((_, i) => n.in(i + 2));
  const rounds: (readonly Value[])[] = [];
  for (let round = 0; going && round < limit; round++) {
    if (round === mostRounds) throw n.fail(`it iterates more than ${mostRounds} times`);
    const [condition, ...made] = n.around.subgraph(body, [
      known(int64, [], [round]),
      known(boolean, [], [1]),
      ...carried,
    ]);
    const flag = knownOf(condition)?.values[0];
    if (flag === undefined) throw n.fail("its loop condition is only known at run time");
    going = flag !== 0;
    rounds.push(made.slice(carried.length));
    carried = made.slice(0, carried.length);
  }
  return [
    ...carried,
    ...(rounds[0] ?? []).map((_, i) =>
      stacked(
        n,
        rounds.map((round) => round[i]!),
      ),
    ),
  ];
}

/** Stacks the results of the iterations along a new leading dimension. */
function stacked(n: NodeView, values: readonly Value[]): Value {
  const rows = values.map((v) => reshapeTo(n, v, [1, ...v.shape]));
  const numbers = rows.map((v) => knownOf(v)?.values);
  const [first] = rows;
  if (rows.every((v) => v.kind === "known"))
    return known(
      first!.type,
      [rows.length, ...first!.shape.slice(1)],
      numbers.flatMap((v) => Array.from(v!)),
    );
  return concatAlong(n, rows, 0);
}

export const controlRecords: Records = {
  If: { build: conditional, unfolded: true },
  Loop: { build: loop, unfolded: true },
};
