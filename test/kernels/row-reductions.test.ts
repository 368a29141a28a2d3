/**
 * Row reductions in every schedule and on adapters of every subgroup size: odd lengths, few and many rows, along and
 * across.
 */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  type AdapterFacts,
  baselineFacts,
  bindSizes,
  compileKernels,
  type Graph,
  inputName,
  lowering,
  parseGraph,
  runProgram,
} from "../../compiler/index.ts";
import { excess } from "../support/samples.ts";

const withLanes = (lanes: number): AdapterFacts => ({
  ...baselineFacts,
  maxWorkgroupInvocations: 1024,
  maxWorkgroupSize: [1024, 1024, 64],
  features: new Set(["subgroups"]),
  subgroupSizes: { min: lanes, max: lanes },
});

const adapters: Readonly<Record<string, AdapterFacts>> = {
  "without subgroups": baselineFacts,
  "on CPU threads": { ...baselineFacts, software: true },
  ...Object.fromEntries([4, 8, 16, 32, 64].map((lanes) => [`with subgroups of ${lanes}`, withLanes(lanes)])),
};

/** Folds of one accumulator and of two, one after another and side by side, stored by row and by element. */
const along = (rows: number, width: number): Graph =>
  parseGraph(`graph @along(%x: f32[row=${rows}, column=${width}], %w: f32[column=${width}]) {
  %0 = softmax %x axis column
  %1 = layer_norm %x, %w, %w over [column] epsilon 0.00001
  %2 = argmax %x axis column
  %3 = logsumexp %1 axis column
  return %0 as weights, %1 as normed, %2 as best, %3 as total
}`);

/** The same with rows that lie across memory, and sums over two axes. */
const across = (rows: number, width: number): Graph =>
  parseGraph(`graph @across(%x: f32[part=3, column=${width}, row=${rows}], %y: f32[part=3, column=${width}, row=${rows}]) {
  %0 = mul %x, %y
  %1 = reduce_sum %0 over [part, column]
  %2 = reduce_sum %x over [part, column]
  %3 = reduce_max %x over [column]
  return %1 as scale, %2 as bias, %3 as largest
}`);

/** What the kernels make of inputs between -3 and 3, beyond what float32 excuses. */
function mistakes(graph: Graph, facts: AdapterFacts, schedules = lowering.scheduleTables): string[] {
  const inputs = new Map(
    graph.inputs.map((n, salt) => {
      const length = n.type.axes.reduce((size, a) => size * Number(a.size), 1);
      return [inputName(n), Float64Array.from({ length }, (_, i) => Math.fround(Math.sin(i * 7.3 + salt) * 3))];
    }),
  );
  const { outputs } = runProgram(compileKernels(graph, facts, { schedules }), inputs);
  return [...evaluate(graph, inputs)].flatMap(([name, want]) => {
    const over = excess(outputs.get(name)!, want.data, 2e-5, 2e-5);
    return over > 0 ? [`${name} is off by ${over} more than is granted`] : [];
  });
}

const sizes = [
  [1, 1],
  [3, 7],
  [5, 64],
  [7, 67],
  [2, 300],
  [3, 1028],
  [70, 12],
] as const;

describe.each(Object.entries(adapters))("%s", (_, facts) => {
  it.each(sizes)("%i rows of %i are folded", (rows, width) => {
    expect(mistakes(along(rows, width), facts)).toEqual([]);
    expect(mistakes(across(rows, width), facts)).toEqual([]);
  });
});

describe.each(lowering.scheduleTables.row_reduction.schedules.map((s) => [s.name, s] as const))("%s", (_, schedule) => {
  /** Each settings that an adapter without subgroups has, alone in its table. */
  const facts = { ...baselineFacts, maxWorkgroupInvocations: 1024, maxWorkgroupSize: [1024, 1024, 64] as const };
  const settings = (schedule.settings(facts) as readonly lowering.Settings[]).filter((s) => (s.threads ?? 0) <= 256);

  it.each(settings.map((s) => [JSON.stringify(s), s] as const))("folds rows with %s, where they fit", (_, one) => {
    const first = { ...schedule, settings: () => [one] };
    const schedules = lowering.withSchedule("row_reduction", first);
    const [elements, threads] = [one.elements ?? 1, one.threads ?? 1];
    const width = elements * Math.max(33, one.threadsAcross ? 2 * threads : 1 + (one.lanes ?? 4 * threads));
    expect(mistakes(along(3, width), facts, schedules)).toEqual([]);
    expect(mistakes(across(elements * 9, 50), facts, schedules)).toEqual([]);
  });
});

describe.each(Object.entries(adapters))("a sum beside a product, %s", (_, facts) => {
  const graph = parseGraph(`graph @beside(%x: f32[row=34, in=inner], %dy: f32[row=34, out=36]) {
  %0 = contract %dy, %x over [row]
  %1 = reduce_sum %dy over [row]
  return %0 as weight, %1 as bias
}`);

  it.each([1, 7, 200])("of %i columns, which are open until a run", (inner) => {
    const program = compileKernels(graph, facts);
    expect(program.kernels).toHaveLength(1);
    const at = (length: number, salt: number) => Float64Array.from({ length }, (_, i) => Math.sin(i * 3.1 + salt));
    const inputs = new Map([
      ["x", at(34 * inner, 1).map(Math.fround)],
      ["dy", at(34 * 36, 2).map(Math.fround)],
    ]);
    const { outputs } = runProgram(program, inputs, { inner });
    for (const [name, want] of evaluate(bindSizes(graph, { inner }), inputs))
      expect(excess(outputs.get(name)!, want.data, 2e-5, 2e-5), name).toBeLessThanOrEqual(0);
  });
});
