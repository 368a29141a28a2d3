/**
 * Contractions in memory that a workgroup shares and by subgroups: every tile, at sizes that do and do not fill it, and
 * few rows.
 */
import { describe, expect, test } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import type { GpuDevice } from "../../backends/webgpu/runtime/device.ts";
import {
  type AdapterFacts,
  baselineFacts,
  compileKernels,
  type Graph,
  hostTensor,
  inputName,
  lowering,
  makeGraph,
  ops,
  parseGraph,
} from "../../compiler/index.ts";
import { checkFeasible } from "../../compiler/kernel/index.ts";
import { gpuTest, validatingDevice } from "../support/adapter.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { adapters, compileFor, interpretProgram } from "./support.ts";

interface Shape {
  readonly rows: number;
  readonly columns: number;
  readonly depth: number;
  /** Shared by both operands. */
  readonly batch?: number;
  /** Whether the elements that are summed over are neighbours in the right operand. */
  readonly deep?: boolean;
}

/** gelu(x · w + bias), with what surrounds a contraction in a model. */
function layer({ rows, columns, depth, batch = 1, deep = true }: Shape): Graph {
  const [b, m, n, k] = Object.entries({ b: batch, m: rows, n: columns, k: depth }).map(([name, size]) => ({
    name,
    size,
  }));
  const x = ops.input("x", "f32", [b!, m!, k!]);
  const w = ops.input("w", "f32", deep ? [b!, n!, k!] : [b!, k!, n!]);
  const sum = ops.contract(ops.mul(x, 0.5), w, ["k"]);
  return makeGraph("layer", [{ name: "y", node: ops.gelu(ops.add(sum, ops.input("bias", "f32", [n!]))) }]);
}

type Contraction = (typeof lowering.scheduleTables.contraction.schedules)[number];

const scheduleNamed = (name: string): Contraction =>
  lowering.scheduleTables.contraction.schedules.find((s) => s.name === name)!;

/** The tables with one schedule, in these settings only, ahead of all others. */
const forcedTo = (schedule: Contraction, settings: lowering.Settings) =>
  lowering.withSchedule("contraction", { ...schedule, settings: () => [settings], fits: () => true as const });

const [sharedTiles, subgroupTiles, registers] = ["shared-tiles", "subgroup-tiles", "registers"].map(scheduleNamed) as [
  Contraction,
  Contraction,
  Contraction,
];

const gpu = { ...baselineFacts, maxWorkgroupStorage: 32768 };
const shared = (graph: Graph) => compileFor(graph, gpu).kernels[0]!.kernel.arrays.map((a) => a.length);

const shapes: readonly Shape[] = [
  { rows: 33, columns: 40, depth: 36, batch: 2 },
  { rows: 33, columns: 40, depth: 36, deep: false },
  { rows: 31, columns: 17, depth: 33 },
  { rows: 16, columns: 70, depth: 32, deep: false },
];

const anyLength = (sharedTiles.settings(gpu) as readonly lowering.Settings[]).filter((s) => !s.shortSide);

/** Both orders of each operand; sums and sides that neither fours nor slabs divide, of f32 and of halves. */
const mixed = (dtype: "f32" | "f16") =>
  [
    ["m=70, k=36", "k=36, n=75"],
    ["m=67, k=39", "n=80, k=39"],
    ["k=40, m=72", "k=40, n=136"],
  ].map(
    ([x, w]) => `graph @g(%x: ${dtype}[${x}], %w: ${dtype}[${w}]) {
  %0 = contract %x, %w over [k]
  %1 = cast %0 to f32
  return %1
}`,
  );

describe.each(["f32", "f16"] as const)("of %s, every tile computes what the reference does", (dtype) => {
  test.each(anyLength.map((s) => [lowering.printChoice("tile", s), s] as const))("%s", (_, settings) => {
    // Halves are widened as they are read, whatever the order: each tile has another one.
    const all = mixed(dtype);
    const taken = dtype === "f32" ? all : [all[anyLength.indexOf(settings) % all.length]!];
    for (const text of taken) {
      const graph = parseGraph(text);
      const program = compileKernels(graph, gpu, { schedules: forcedTo(sharedTiles, settings) });
      expect(checkFeasible(program.kernels[0]!.kernel, gpu)).toEqual([]); // of halves too: they are only widened
      const drawn = inputValues(graph, 3);
      const values = new Map([...drawn].map(([k, v]) => [k, v.map((x) => Math.f16round(x))]));
      const got = interpretProgram(program, values).get("y")!;
      expect(excess(got, evaluate(graph, values).get("y")!.data, 1e-5, 1e-4)).toBeLessThanOrEqual(0);
    }
  });
});

/** Runs a product on a device by one schedule, and compares it with the reference. */
async function expectRight(device: GpuDevice, schedule: Contraction, settings: lowering.Settings, text: string) {
  const backend = webgpuBackend(device, { schedules: forcedTo(schedule, settings) });
  const graph = parseGraph(text);
  const values = inputValues(graph, 3);
  const executable = await backend.compile(graph);
  const [kernel] = executable.program().kernels;
  expect(lowering.printChoice(kernel!.schedule, kernel!.settings)).toBe(lowering.printChoice(schedule.name, settings));
  const store = backend.createStore();
  const feeds = Object.fromEntries(
    graph.inputs.map((n) => [
      inputName(n),
      hostTensor(
        "f32",
        n.type.axes as readonly { name: string; size: number }[],
        Float32Array.from(values.get(inputName(n))!),
      ),
    ]),
  );
  const { y } = await executable.run(feeds, store);
  expect(excess([...y!.data], evaluate(graph, values).get("y")!.data, 1e-5, 1e-4)).toBeLessThanOrEqual(0);
  store.dispose();
  executable.dispose();
}

gpuTest("on a device, computes what the reference does", async ({ gpu: device }) => {
  const [wide, square] = [anyLength.find((s) => s.prefetch === 1)!, anyLength.at(-1)!];
  for (const [i, settings] of [wide, square].entries())
    await expectRight(device, sharedTiles, settings, mixed("f32")[i]!);
});

/** The smallest and the largest code; those between are made of the same parts. */
const ends = (schedule: Contraction, facts: AdapterFacts): readonly lowering.Settings[] => {
  const all = (schedule.settings(facts) as readonly lowering.Settings[]).filter((s) => !s.maxOpenSide);
  return [all[0]!, all.at(-1)!];
};

gpuTest("on CPU threads, short code and long code compute what the reference does", async ({ gpu: device }) => {
  for (const [schedule, adapter] of [
    [subgroupTiles, "swiftshader"],
    [registers, "software"],
  ] as const)
    for (const settings of ends(schedule, adapters[adapter]!))
      await expectRight(device, schedule, settings, mixed("f32")[1]!);
});

/** Of few rows, or of few columns. */
const skinny: readonly Shape[] = [
  { rows: 5, columns: 11, depth: 260 },
  { rows: 3, columns: 9, depth: 131, deep: false },
  { rows: 12, columns: 2, depth: 129, batch: 2 },
];

describe("computes what the reference does", () => {
  test.each(shapes)("%o", (shape) => {
    const graph = layer(shape);
    expect(shared(graph)).toHaveLength(2);
    const values = inputValues(graph, 3);
    const got = interpretProgram(compileFor(graph, gpu), values).get("y")!;
    expect(excess(got, evaluate(graph, values).get("y")!.data, 1e-5, 1e-4)).toBeLessThanOrEqual(0);
  });
});

/** A GPU whose subgroups have so many lanes. */
const gpuWithLanes = (lanes: number): AdapterFacts => ({
  ...gpu,
  maxWorkgroupInvocations: 1024,
  features: new Set(["subgroups", "subgroup_size"]),
  subgroupSizes: { min: lanes, max: lanes },
});

/** x · w with weights as they are kept for decoding: halves, widened as they are read. */
function ofHalves(rows: number, columns: number, depth: number, deep: boolean): Graph {
  const [m, n, k] = Object.entries({ m: rows, n: columns, k: depth }).map(([name, size]) => ({ name, size }));
  const w = ops.input("w", "f16", deep ? [n!, k!] : [k!, n!]);
  const y = ops.contract(ops.input("x", "f32", [m!, k!]), ops.cast(w, "f32"), ["k"]);
  return makeGraph("halves", [{ name: "y", node: y }]);
}

describe("of few rows", () => {
  const agrees = (graph: Graph, facts: AdapterFacts) => {
    const program = compileFor(graph, facts);
    for (const { kernel } of program.kernels) expect(checkFeasible(kernel, facts)).toEqual([]);
    const drawn = inputValues(graph, 3);
    const values = new Map([...drawn].map(([name, all]) => [name, Float64Array.from(Float16Array.from(all))]));
    const got = interpretProgram(program, values).get("y")!;
    expect(excess(got, evaluate(graph, values).get("y")!.data, 1e-5, 1e-4)).toBeLessThanOrEqual(0);
    return program.kernels[0]!;
  };
  const shapes: readonly Shape[] = [
    ...skinny,
    { rows: 1, columns: 13, depth: 259 },
    { rows: 8, columns: 33, depth: 272 },
    { rows: 2, columns: 40, depth: 256, batch: 3, deep: false },
    { rows: 6, columns: 64, depth: 160, deep: false },
  ];
  const machines: readonly (readonly [string, AdapterFacts])[] = [
    ["in workgroup memory", gpu],
    ...[8, 16, 32, 64].map((lanes) => [`by subgroups of ${lanes}`, gpuWithLanes(lanes)] as const),
  ];

  test.each(machines)("%s, computes what the reference does", (_, facts) => {
    for (const shape of shapes) {
      const { schedule } = agrees(layer(shape), facts);
      expect(schedule).toBe(shape.deep === false ? "few-rows-sliced" : "few-rows");
    }
    for (const [rows, columns, depth] of [
      [1, 9, 264],
      [3, 18, 520],
      [5, 40, 1032],
    ] as const)
      for (const deep of [true, false]) agrees(ofHalves(rows, columns, depth, deep), facts);
  });

  test("a matrix is read by sixteen bytes, and once", () => {
    for (const deep of [true, false]) {
      const { kernel } = agrees(ofHalves(5, 32, 1024, deep), gpuWithLanes(32));
      const [w] = kernel.buffers.filter((b) => b.dtype === "f16");
      expect(w!.width).toBe(8);
    }
  });

  test("a row of a matrix is read for as many results as leave a GPU busy", () => {
    const outputsAt = (rows: number, columns: number) =>
      compileFor(layer({ rows, columns, depth: 256 }), gpuWithLanes(32)).kernels[0]!.settings.outputs;
    expect(outputsAt(1, 512)).toBe(1);
    expect(outputsAt(1, 2048)).toBe(2);
    expect(outputsAt(5, 16384)).toBe(4);
  });
});

test("on CPU threads, the code of a small product is short: it takes longer to compile than to run", () => {
  const tileOf = (rows: number, columns: number, adapter: string) => {
    const { schedule, settings } = compileFor(layer({ rows, columns, depth: 36 }), adapters[adapter]!).kernels[0]!;
    return lowering.printChoice(schedule, settings);
  };
  expect(tileOf(33, 40, "swiftshader")).toBe("subgroup-tiles lanes=4 rows=4 steps=1");
  expect(tileOf(1600, 640, "swiftshader")).toBe("subgroup-tiles lanes=4 rows=16 steps=4");
  expect(tileOf(33, 40, "software")).toBe("registers threads=32 maxTile=2 maxOpenSide=0");
  expect(tileOf(1600, 640, "software")).toBe("registers threads=32 maxTile=8 maxOpenSide=0");
  expect(tileOf(12, 41, "gpu")).toBe("registers threads=64 maxTile=8 maxOpenSide=0");
});

/** No tile is full. */
const narrow: readonly Shape[] = [
  { rows: 9, columns: 17, depth: 13 },
  { rows: 8, columns: 16, depth: 3, batch: 3, deep: false },
];

/** A software adapter with subgroups of so many lanes. */
const withLanes = (lanes: number): AdapterFacts => ({
  ...baselineFacts,
  software: true,
  features: new Set(["subgroups"]),
  subgroupSizes: { min: lanes, max: lanes },
});

describe.each([4, 8, 16])("in tiles of subgroups of %i lanes, computes what the reference does", (lanes) => {
  const compiled = (graph: Graph) => compileFor(graph, withLanes(lanes));

  test.each([...shapes, ...narrow])("%o", (shape) => {
    const graph = layer(shape);
    const program = compiled(graph);
    expect(program.kernels[0]!.schedule).toBe("subgroup-tiles");
    expect(checkFeasible(program.kernels[0]!.kernel, withLanes(lanes))).toEqual([]);
    const values = inputValues(graph, 3);
    const got = interpretProgram(program, values).get("y")!;
    expect(excess(got, evaluate(graph, values).get("y")!.data, 1e-5, 1e-4)).toBeLessThanOrEqual(0);
  });

  const everyTile = subgroupTiles.settings(withLanes(lanes)) as readonly lowering.Settings[];

  test.each(everyTile.map((s) => [lowering.printChoice("tile", s), s] as const))("with %s", (_, settings) => {
    for (const shape of narrow) {
      const graph = layer(shape);
      const program = compileKernels(graph, withLanes(lanes), { schedules: forcedTo(subgroupTiles, settings) });
      const values = inputValues(graph, 3);
      const got = interpretProgram(program, values).get("y")!;
      expect(excess(got, evaluate(graph, values).get("y")!.data, 1e-5, 1e-4)).toBeLessThanOrEqual(0);
    }
  });

  test("a tile has the rows that waste least; no tile is for few rows or columns, or subgroups of several sizes", () => {
    const rowsOf = (rows: number) => compiled(layer({ rows, columns: 4000, depth: 360 })).kernels[0]!.settings.rows;
    expect(rowsOf(160)).toBe(16);
    expect(rowsOf(8)).toBe(Math.max(8, lanes));
    const scheduleOf = (rows: number, columns: number) =>
      compiled(layer({ rows, columns, depth: 36 })).kernels[0]!.schedule;
    expect(scheduleOf(lanes / 2 - 1, 40)).toBe("registers");
    expect(scheduleOf(1, 8)).toBe("row-per-thread"); // a few rows are no matrix
    expect(scheduleOf(40, lanes - 1)).toBe("registers");
    const two = { ...withLanes(lanes), subgroupSizes: { min: lanes, max: 2 * lanes } };
    expect(compileFor(layer({ rows: 40, columns: 40, depth: 36 }), two).kernels[0]!.schedule).toBe("registers");
  });
});

describe("takes the largest tile that keeps a GPU busy", () => {
  test.each([
    [{ rows: 2048, columns: 2048, depth: 64 }, [16 * 4 * 17, 16 * 4 * 33]],
    [{ rows: 257, columns: 3200, depth: 64 }, [16 * 4 * 17, 16 * 4 * 33]],
    [{ rows: 96, columns: 256, depth: 64 }, [32 * 4 * 9, 32 * 4 * 9]],
  ] as const)("%o", (shape, lengths) => expect(shared(layer(shape))).toEqual(lengths));

  test("and none where a side is too short to fill it", () => {
    expect(shared(layer({ rows: 9, columns: 4096, depth: 64 }))).toEqual([]);
    expect(shared(layer({ rows: 64, columns: 64, depth: 12 }))).toEqual([]);
  });
});

test("every tile is valid WGSL", async () => {
  const device = await validatingDevice();
  const backend = webgpuBackend(device);
  for (const rows of [2048, 257, 96, 5]) await backend.compile(layer({ rows, columns: 2048, depth: 128 }));
  device.check();
});

test("a variant that one before it stands in for is not made", () => {
  const open = parseGraph(`graph @g(%x: f32[row=rows, in=130], %w: f32[out=9, in=130]) {
  %0 = contract %x, %w over [in]
  return %0
}`);
  const [kernel] = compileFor(open, adapters.gpu!).kernels;
  const texts = kernel!.special.map((v) => `${v.schedule} ${v.assuming.map(lowering.printFact)}`);
  expect(texts).toEqual(["few-rows rows <= 1", "few-rows rows <= 8"]); // and no registers for up to 4
});
