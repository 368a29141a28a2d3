/** Checks that every op record must pass on its own cases: shapes, decomposition and gradient against the reference. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  build,
  decompose,
  differentiate,
  makeGraph,
  type OpCase,
  type OpRecord,
  ops,
  type RefTensor,
} from "../../compiler/index.ts";
import { count, draw, excess, graphOf, inputMap, inputsOf, operandsOf, seeded } from "./samples.ts";

export interface RecordCase {
  readonly name: string;
  readonly record: OpRecord;
  readonly c: OpCase;
}

/** Every case of every record, named. */
export const recordCases = (records: readonly OpRecord[]): RecordCase[] =>
  records.flatMap((record) => record.cases.map((c, i) => ({ name: `${record.name} case ${i + 1}`, record, c })));

/** Declares the tests for these records. */
export function describeRecords(records: readonly OpRecord[]): void {
  const cases = recordCases(records);
  describe("a record's shape rule and reference agree", () => {
    it.each(cases)("$name", ({ record, c }) => {
      const type = record.infer(c.operands, c.attrs);
      const value = record.reference(operandsOf(record, c, 1), c.attrs, type);
      expect(value.length).toBe(count(type));
      expect(value.every(Number.isFinite)).toBe(true);
    });
  });
  describe("a decomposition means what the reference says", () => {
    it.each(cases.filter((x) => x.record.decompose))("$name", ({ record, c }) => {
      const inputs = inputsOf(c);
      const whole = graphOf("whole", inputs, build(record.name, inputs, c.attrs));
      const parts = decompose(whole, () => false);
      const values = inputMap(operandsOf(record, c, 2));
      const [want, got] = [whole, parts].map((g) => evaluate(g, values).get("y")!.data);
      expect(excess(got!, want!, 1e-9, 1e-9)).toBeLessThanOrEqual(0);
    });
  });
  describe("a gradient equals the finite difference along a random direction", () => {
    it.each(cases.filter(isSmooth))("$name", ({ record, c }) => {
      const { numeric, exact } = directionalDerivative(record, c);
      expect(Math.abs(numeric - exact)).toBeLessThanOrEqual(derivativeSlack(exact));
    });
  });
}

/** Central differences with step 1e-5 are accurate to about 1e-9 in float64; a wrong formula is off by far more. */
export const derivativeSlack = (exact: number): number => 1e-6 + 1e-6 * Math.abs(exact);

/** Ops that occur only inside gradients are not differentiated again. */
const isSmooth = ({ record, c }: RecordCase): boolean =>
  (record.gradient !== undefined || record.decompose !== undefined) &&
  !record.flat &&
  !record.estimated &&
  record.infer(c.operands, c.attrs).dtype === "f32" &&
  c.operands.some((o) => o.dtype === "f32") &&
  !/attention_/.test(record.name);

/** d/dt of Σ w·f(x + t·direction), by central differences and by the gradient pass. */
export function directionalDerivative(record: OpRecord, c: OpCase): { numeric: number; exact: number } {
  const operands = operandsOf(record, c, 3);
  const next = seeded(4);
  const inputs = inputsOf(c);
  const node = build(record.name, inputs, c.attrs);
  const weight = ops.input("w", node.type.dtype, node.type.axes);
  const weights = draw(node.type, { low: -1, high: 1 }, next);
  const product = ops.mul(node, weight);
  const loss =
    node.type.axes.length === 0
      ? product
      : ops.reduceSum(
          product,
          node.type.axes.map((a) => a.name),
        );
  const moved = inputs.filter((i) => i.type.dtype === "f32");
  const directions = new Map(moved.map((i) => [i, draw(i.type, { low: -1, high: 1 }, next)]));
  const graph = makeGraph(
    "g",
    [{ name: "loss", node: loss }, ...differentiate(loss, moved).map((node, i) => ({ name: `d${i}`, node }))],
    [...inputs, weight],
  );
  const at = (t: number) => {
    const shifted: RefTensor[] = operands.map((o, i) => {
      const d = directions.get(inputs[i]!);
      return d ? { type: o.type, data: o.data.map((v, k) => v + t * d[k]!) } : o;
    });
    return evaluate(graph, new Map([...inputMap(shifted), ["w", weights]]));
  };
  const h = 1e-5;
  const numeric = (at(h).get("loss")!.data[0]! - at(-h).get("loss")!.data[0]!) / (2 * h);
  const here = at(0);
  const exact = moved.reduce((sum, m, i) => {
    const d = here.get(`d${i}`)!.data;
    return sum + directions.get(m)!.reduce((n, v, k) => n + v * d[k]!, 0);
  }, 0);
  return { numeric, exact };
}
