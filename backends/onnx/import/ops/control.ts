/** Control flow: If with both branches; Loop with a constant trip count and Scan of a known length, unrolled. */
import { ops } from "../../../../compiler/index.ts";
import { aligned } from "../broadcast.ts";
import { boolean, int64 } from "../elements.ts";
import type { GraphMessage } from "../messages.ts";
import type { NodeView } from "../node-view.ts";
import type { Records } from "../record.ts";
import { known, knownOf, type Operand, tensor, type Value } from "../values.ts";
import { concatAlong, rangeOf } from "./ranges.ts";
import { reshapeTo } from "./shapes.ts";

/** Builds the taken branch if the condition is constant; otherwise both, and selects between their results. */
function conditional(n: NodeView): readonly Operand[] {
  const condition = n.in(0);
  const decided = knownOf(condition)?.values[0];
  if (decided !== undefined) return n.around.subgraph(n.graph(decided ? "then_branch" : "else_branch"), []);
  const [yes, no] = [n.around.subgraph(n.graph("then_branch"), []), n.around.subgraph(n.graph("else_branch"), [])];
  return yes.map((a, i) => {
    const b = no[i];
    if (a.kind === "sequence" || b?.kind === "sequence")
      throw n.dataDependent("its branches return sequences, and the condition is only known at run time");
    if (!b || a.shape.length !== b.shape.length || a.shape.some((d, k) => d !== b.shape[k]))
      throw n.dataDependent(
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
function loop(n: NodeView): readonly (Operand | undefined)[] {
  const body = n.graph("body");
  const limit = n.number(0, "the number of iterations") ?? Number.POSITIVE_INFINITY;
  let going = n.number(1, "the condition") !== 0;
  let carried: readonly Operand[] = n.operands.slice(2).map((_, i) => n.operand(i + 2));
  requireBody(n, body, 2 + carried.length);
  const rounds: (readonly Value[])[] = [];
  for (let round = 0; going && round < limit; round++) {
    if (round === mostRounds) throw n.fail(`it iterates more than ${mostRounds} times`);
    const [condition, ...made] = n.around.subgraph(body, [
      known(int64, [], [round]),
      known(boolean, [], [1]),
      ...carried,
    ]);
    const flag = knownOf(condition)?.values[0];
    if (flag === undefined) throw n.dataDependent("its loop condition is only known at run time");
    going = flag !== 0;
    rounds.push(tensors(n, made.slice(carried.length)));
    carried = made.slice(0, carried.length);
  }
  requireRounds(n, rounds.length, carried.length);
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

/** Fully unrolls a Scan: the body reads the next element of each scanned input, and carries states along. */
function scan(n: NodeView): readonly Operand[] {
  if (n.opset < 9) throw n.fail("Scan of opset 8, which has a batch, is not supported");
  const body = n.graph("body");
  const states = n.inputs.length - n.int("num_scan_inputs");
  const made = n.message.output.length - states;
  if (!(states >= 0 && states < n.inputs.length && made >= 0)) throw n.fail("it has no inputs to scan");
  const scanned = n.inputs.slice(states).map((_, i) => n.in(states + i));
  const [along, to] = [numbered(n, "scan_input_axes", scanned.length), numbered(n, "scan_output_axes", made)];
  const [back, turned] = ["input", "output"].map((end, i) =>
    numbered(n, `scan_${end}_directions`, [scanned.length, made][i]!).map((d) => d !== 0),
  ) as [boolean[], boolean[]];
  const axes = scanned.map((x, i) => n.dim(along[i]!, x.shape.length));
  const length = scanned[0]!.shape[axes[0]!];
  const other = scanned.find((x, i) => x.shape[axes[i]!] !== length);
  if (typeof length !== "number" || length > mostRounds || other)
    throw n.fail(
      `it scans ${scanned.map((x, i) => x.shape[axes[i]!]).join(" and ")} elements; supported is one number of at most ${mostRounds}`,
    );
  requireRounds(n, length, states);
  requireBody(n, body, n.inputs.length);
  let carried: readonly Operand[] = n.operands.slice(0, states).map((_, i) => n.operand(i));
  const rounds: (readonly Value[])[] = [];
  for (let round = 0; round < length; round++) {
    const elements = scanned.map((x, i) => elementOf(n, x, axes[i]!, back[i] ? length - 1 - round : round));
    const results = n.around.subgraph(body, [...carried, ...elements]);
    carried = results.slice(0, states);
    rounds.push(tensors(n, results.slice(states)));
  }
  const outputs = Array.from({ length: rounds.length === 0 ? 0 : made }, (_, i) => {
    const values = rounds.map((round) => round[i]!);
    return stacked(n, turned[i] ? values.reverse() : values, n.dim(to[i]!, values[0]!.shape.length + 1));
  });
  return [...carried, ...outputs];
}

/** Throws unless the body has an input for each value that an iteration gives it. */
function requireBody(n: NodeView, body: GraphMessage, given: number): void {
  if (body.input.length !== given)
    throw n.fail(`its body has ${body.input.length} inputs, and an iteration gives it ${given}`);
}

/** Throws where nothing is iterated and an output after the carried ones would stack it. */
function requireRounds(n: NodeView, rounds: number, carried: number): void {
  if (rounds === 0 && n.message.output.some((name, i) => i >= carried && name !== ""))
    throw n.fail("it iterates 0 times, and outputs that stack its iterations would be empty, which is not supported");
}

/** A list attribute with a number for each of `count`, by default 0. */
function numbered(n: NodeView, name: string, count: number): readonly number[] {
  const list = n.ints(name) ?? Array.from({ length: count }, () => 0);
  if (list.length !== count) throw n.fail(`${name} must have ${count} numbers, got ${list.length}`);
  return list;
}

const elementOf = (n: NodeView, x: Value, at: number, i: number): Value =>
  reshapeTo(
    n,
    rangeOf(n, x, at, i, 1),
    x.shape.filter((_, d) => d !== at),
  );

/** Results that are stacked, which sequences cannot be. */
const tensors = (n: NodeView, values: readonly Operand[]): Value[] =>
  values.map((value) => {
    if (value.kind !== "sequence") return value;
    throw n.fail("an iteration returns a sequence where a tensor is expected");
  });

/** Stacks tensors of one shape along a new dimension. */
export function stacked(n: NodeView, values: readonly Value[], at = 0): Value {
  const rows = values.map((v) => reshapeTo(n, v, [...v.shape.slice(0, at), 1, ...v.shape.slice(at)]));
  const numbers = rows.map((v) => knownOf(v)?.values);
  const [first] = rows;
  if (at === 0 && rows.every((v) => v.kind === "known"))
    return known(
      first!.type,
      [rows.length, ...first!.shape.slice(1)],
      numbers.flatMap((v) => Array.from(v!)),
    );
  return concatAlong(n, rows, at);
}

export const controlRecords: Records = {
  If: { build: conditional, unfolded: true },
  Loop: { build: loop, unfolded: true, sequences: true },
  Scan: { build: scan, unfolded: true },
};
