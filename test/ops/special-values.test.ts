/** Every special value of every op record, by every executor: as the record says, or as the list of exceptions does. */
import { describe, expect, it } from "vitest";
import { makeGraph, type OpRecord, opRecords, ops } from "../../compiler/index.ts";
import { gpuTest } from "../support/adapter.ts";
import { type ExecutorName, execute, executorNames } from "../support/executors.ts";
import { agrees, batches, callText, exceptionFor, exceptions, specialRecords, spell } from "./special-values.ts";

/** A line for each row that comes out otherwise. */
async function disagreements(executor: ExecutorName, gpu: Parameters<typeof execute>[1], record: OpRecord) {
  const lines: string[] = [];
  for (const { graph, values, rows } of batches(record)) {
    const got = (await execute(executor, gpu, graph, values)).get("y")!;
    for (const [i, row] of rows.entries()) {
      const exception = exceptionFor(executor, record.name, row);
      const want = exception?.gives ?? row.result;
      const { dtype } = graph.outputs[0]!.node.type;
      // The exceptions of webgpu are SwiftShader's; where the machine has another software adapter it may keep the
      // rule.
      const elsewhere = executor === "webgpu" && !/SwiftShader/.test(gpu.adapter.description);
      if (exception && elsewhere && agrees(Number(got[i]), row.result, dtype)) continue;
      if (!agrees(Number(got[i]), want, dtype))
        lines.push(`${callText(record.name, row)} is ${spell(Number(got[i]))}, not ${spell(want)}`);
    }
  }
  return lines;
}

describe.each(executorNames)("by %s", (executor) => {
  gpuTest.for(specialRecords())("$name", async (record, { gpu }) => {
    expect(await disagreements(executor, gpu, record)).toEqual([]);
  });
});

describe.each(executorNames)("constants of the graph, by %s", (executor) => {
  const x = ops.input("x", "f32", [{ name: "a", size: 3 }]);
  const n = ops.input("n", "i32", [{ name: "a", size: 3 }]);
  const hidden = ops.select(ops.gt(x, 0), x, Number.NEGATIVE_INFINITY);
  const graph = makeGraph(
    "constants",
    Object.entries({
      most: ops.max(x, Number.NEGATIVE_INFINITY),
      hidden,
      shares: ops.softmax(hidden, "a"),
      lost: ops.add(x, Number.NaN),
      whole: ops.idiv(n, 0),
      rest: ops.mod(n, 0),
    }).map(([name, node]) => ({ name, node })),
    [x, n],
  );

  gpuTest("may be infinite, nan, and 0 as a divisor", async ({ gpu }) => {
    const values = new Map([
      ["x", Float64Array.of(1, -1, 1)],
      ["n", Float64Array.of(7, 0, -3)],
    ]);
    const got = await execute(executor, gpu, graph, values);
    const of = (name: string) => Array.from(got.get(name)!);
    expect(of("most")).toEqual([1, -1, 1]);
    expect(of("hidden")).toEqual([1, Number.NEGATIVE_INFINITY, 1]);
    expect(of("shares")).toEqual([0.5, 0, 0.5]);
    expect(of("lost")).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect(of("whole")).toEqual([7, 0, -3]);
    expect(of("rest")).toEqual([0, 0, 0]);
  });
});

it("every elementwise op but those of bool, and every reduction, says what nan, infinities and zeros give", () => {
  const silent = opRecords().filter((r) => /^(elementwise|reduction)$/.test(r.kind) && !r.special?.length);
  expect(silent.map((r) => r.name)).toEqual(["and", "not", "or"]);
  for (const record of specialRecords()) {
    for (const { operands } of record.special!)
      expect(operands.length, record.name).toBe(record.cases[0]!.operands.length);
  }
});

it("every exception is about a row of a record", () => {
  const stale = exceptions.flatMap(({ op, executor, rows }) => {
    const all = specialRecords().find((r) => r.name === op)?.special ?? [];
    const used = new Set(all.map((row) => exceptionFor(executor, op, row)));
    return rows.filter((r) => !used.has(r)).map((r) => `${op} by ${executor}: ${r.operands.flat().map(spell)}`);
  });
  expect(stale).toEqual([]);
});
