/** Findings decide which schedules are taken, where they still fit, and never what is computed. */
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  type Finding,
  type Findings,
  foundKernels,
  lowering,
  type Program,
  parseGraph,
  runProgram,
  tunableKernels,
  variantFor,
} from "../../compiler/index.ts";
import { excess } from "../support/samples.ts";

const graph = parseGraph(`graph @g(%x: f32[row=rows, inner=40], %w: f32[inner=40, column=130]) {
  %0 = contract %x, %w over [inner]
  %1 = softmax %0 axis column
  return %0 as y, %1 as p
}`);
const at = (rows: number) => ({ rows });
const kernels = tunableKernels(graph, baselineFacts, at(67));
const [product] = kernels as [(typeof kernels)[number]];

const finding = (schedule: string, settings = {}, sizes = at(67)): Findings => {
  const found = product.candidates.find((c) => c.schedule === schedule);
  const one: Finding = { schedule, settings: found ? { ...found.settings, ...settings } : settings, sizes };
  return new Map([[product.mark, [one]]]);
};
const compile = (findings?: Findings, g = graph) =>
  compileKernels(g, baselineFacts, findings === undefined ? {} : { findings });
const taken = (program: Program, rows: number) => variantFor(program.kernels[0]!, at(rows));

const x = Float64Array.from({ length: 67 * 40 }, (_, i) => Math.fround(Math.sin(i * 7.3)));
const w = Float64Array.from({ length: 40 * 130 }, (_, i) => Math.fround(Math.cos(i * 3.1)));

function mistakes(program: Program, rows: number): string[] {
  const given = new Map([
    ["x", x.slice(0, rows * 40)],
    ["w", w],
  ]);
  const { outputs } = runProgram(program, given, at(rows));
  return [...evaluate(bindSizes(graph, at(rows)), given)].flatMap(([name, want]) => {
    const over = excess(outputs.get(name)!, want.data, 1e-4, 1e-4);
    return over > 0 ? [`${name} is off by ${over}`] : [];
  });
}

describe("what a tuner is given", () => {
  it("is every shape of kernel in every way that fits, the taken one among them", () => {
    expect(kernels.map((k) => [k.taken.schedule, k.count])).toEqual([
      ["shared-tiles", 1],
      ["row-in-registers", 1],
    ]);
    const ways = new Set(product.candidates.map((c) => c.schedule));
    expect([...ways]).toEqual(["shared-tiles", "registers"]);
    expect(product.candidates.filter((c) => c.schedule === "shared-tiles").length).toBeGreaterThan(1);
  });

  it("computes the same in each of these ways", () => {
    for (const candidate of product.candidates) {
      const program = candidate.compile();
      expect(program.kernels).toHaveLength(1);
      const found: Findings = new Map([[product.mark, [{ ...candidate, sizes: at(67) }]]]);
      expect(mistakes(compile(found), 67)).toEqual([]);
    }
  });
});

describe("a finding", () => {
  it("is honoured, and is told apart from what the table prefers", () => {
    expect(taken(compile(), 67).schedule).toBe("shared-tiles");
    expect(foundKernels(compile())).toBe(0);
    const program = compile(finding("registers"));
    expect(taken(program, 67)).toMatchObject({ schedule: "registers", found: true });
    expect(foundKernels(program)).toBe(1);
  });

  it.each([1, 3, 8, 33, 67])("leaves the numbers as they are with %i rows", (rows) => {
    expect(mistakes(compile(finding("registers")), rows)).toEqual([]);
    expect(mistakes(compile(finding("registers", {}, at(2))), rows)).toEqual([]);
  });

  it("of few rows replaces what runs at few rows, and nothing else", () => {
    const wide = parseGraph(`graph @wide(%x: f32[row=rows, inner=300], %w: f32[inner=300, column=500]) {
  %0 = contract %x, %w over [inner]
  return %0 as y
}`);
    const [kernel] = tunableKernels(wide, baselineFacts, at(2)) as [(typeof kernels)[number]];
    expect(kernel.taken.schedule).toBe("few-rows-sliced");
    const way = kernel.candidates.find((c) => c.schedule === "registers")!;
    const program = compile(new Map([[kernel.mark, [{ ...way, sizes: at(2) }]]]), wide);
    expect(taken(program, 2)).toMatchObject({ schedule: "registers", found: true });
    for (const rows of [1, 9, 67]) {
      expect(taken(program, rows).schedule).toBe(taken(compile(undefined, wide), rows).schedule);
      expect(taken(program, rows).found).toBeUndefined();
    }
  });

  it("holds for the same shape with sizes that may go less far, or are fixed", () => {
    const declared = parseGraph(
      `symbol rows in 1..80
graph @g(%x: f32[row=rows, inner=40], %w: f32[inner=40, column=130]) {
  %0 = contract %x, %w over [inner]
  %1 = softmax %0 axis column
  return %0 as y, %1 as p
}`,
    );
    expect(foundKernels(compile(finding("registers"), declared))).toBe(1);
    const fixed = new Map([[product.fixedMark!, [...finding("registers").values()][0]!]]);
    expect(foundKernels(compile(fixed, bindSizes(graph, at(67))))).toBe(1);
  });

  it.each([
    ["no-such-schedule", {}, "this schedule no longer exists"],
    ["shared-tiles", { rows: 7 }, "it no longer offers settings rows=7"],
    ["subgroup-matrices", {}, "the adapter lacks subgroups, subgroup_matrix"],
  ])("that does not fit is passed over with a reason: %s", (schedule, settings, reason) => {
    const program = compile(finding(schedule, settings));
    expect(taken(program, 67).schedule).toBe("shared-tiles");
    const refusal = program.kernels[0]!.refused.find((r) => r.schedule === `${schedule} (found)`);
    expect(refusal?.reason).toContain(reason);
  });

  it("of sizes that the graph has not changes nothing that it could decide", () => {
    const program = compile(finding("registers", { few: 1 }, { rows: 67 }));
    expect(taken(program, 67).found).toBeUndefined();
  });
});

describe("marks", () => {
  it("are 16 digits, and differ with any character", () => {
    expect(lowering.markOf("")).toBe("cbf29ce484222325"); // the offset basis of FNV-1a
    expect(lowering.markOf("a")).toBe("af63dc4c8601ec8c");
    expect(lowering.markOf("ab")).not.toBe(lowering.markOf("ba"));
  });

  it("of tables change with a schedule, its settings and its code", () => {
    const { scheduleTables: tables, markOfTables, withSchedule } = lowering;
    const plain = markOfTables(tables, baselineFacts);
    expect(markOfTables(tables, baselineFacts)).toBe(plain);
    expect(markOfTables(tables, { ...baselineFacts, software: true })).not.toBe(plain);
    const [first] = tables.elementwise.schedules;
    const other = withSchedule("elementwise", { ...first!, cost: () => 3 });
    expect(markOfTables(other, baselineFacts)).not.toBe(plain);
  });
});

describe("waste", () => {
  it("is the share of tiles past the edges", () => {
    expect(lowering.tileWaste([[64, 32]])).toBe(0);
    expect(lowering.tileWaste([[33, 32]])).toBeCloseTo(1 - 33 / 64, 12);
    expect(
      lowering.tileWaste([
        [257, 128],
        [100, 64],
      ]),
    ).toBeCloseTo(1 - (257 / 384) * (100 / 128), 12);
  });

  it("is told of kernels that are made of tiles", () => {
    const program = compile(undefined, bindSizes(graph, at(67)));
    const { schedule, settings, waste } = program.kernels[0]!;
    expect(schedule).toBe("shared-tiles");
    const share = (size: number, tile: number) => size / (Math.ceil(size / tile) * tile);
    expect(waste).toBeCloseTo(1 - share(67, settings.rows!) * share(130, settings.columns!), 12);
    expect(program.kernels[1]!.waste).toBeUndefined();
  });
});
