/**
 * Golden kernels: every .golden file is a graph, the kernels that it becomes and their WGSL. The kernels are parsed
 * from the file and run in the interpreter against the reference, so that each is also a differential test. `npm run
 * golden` accepts what is printed now.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import {
  baselineFacts,
  bindSizes,
  compileKernels,
  type Graph,
  inputName,
  type KernelVariant,
  kernelIr,
  lowering,
  type Program,
  parseGraph,
  printGraph,
  printKernel,
  runProgram,
  type Sizes,
} from "../../compiler/index.ts";
import { filesBelow } from "../golden/golden-file.ts";
import { validatingDevice } from "../support/adapter.ts";
import { inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { adapters as fewest } from "./support.ts";

/** An adapter that grants the memory of the largest tile, beside the two that grant the least. */
const adapters = {
  ...fewest,
  desktop: { ...baselineFacts, maxWorkgroupStorage: 32 * 1024 },
  h200: { ...baselineFacts, ...kernelIr.recordedAdapters["nvidia-h200"].facts },
};

/** What a file says before its graph. */
interface Header {
  /**
   * The adapter that the kernels are made for, and the only schedule that they may have where the problem is too small
   * for it to be the best.
   */
  readonly adapter: string;
  readonly by?: string;
  /** Sizes to run at: "rows=1; rows=8, columns=3". */
  readonly runs?: string;
  readonly tolerance?: string;
}

interface GoldenKernels {
  readonly comments: string;
  readonly header: Header;
  readonly graph: string;
  readonly kernels: string;
  readonly wgsl: string;
}

const [kernelsLine, wgslLine] = ["---- kernels\n", "---- wgsl\n"];

function read(text: string): GoldenKernels {
  const comments = /^(?:\/\/.*\n)*/.exec(text)![0];
  const entries = [...comments.matchAll(/(?:^\/\/ |\s{2,})([a-z]+): (.*?)(?=\s{2,}[a-z]+: |$)/gm)];
  const header = Object.fromEntries(entries.map(([, key, value]) => [key, value!.trim()])) as unknown as Header;
  const [graph = "", rest = ""] = text.slice(comments.length).split(kernelsLine);
  const [kernels = "", wgsl = ""] = rest.split(wgslLine);
  return { comments, header, graph, kernels, wgsl };
}

/** The tables with nothing but one schedule for the kernels of its kind, at the settings given. */
function only(by: string): lowering.ScheduleTables {
  const [name, ...wanted] = by.split(" ");
  const restricted = (s: lowering.Schedule<unknown>): lowering.Schedule<unknown> => ({
    ...s,
    settings: (facts) => {
      const all = s.settings(facts);
      if (typeof all === "string") return all;
      return all.filter((one) => wanted.every((w) => Object.entries(one).some(([k, v]) => `${k}=${v}` === w)));
    },
  });
  const tables: Record<string, lowering.KindOfKernel<unknown>> = { ...lowering.scheduleTables };
  for (const [kind, { problem, schedules }] of Object.entries(tables)) {
    const found = schedules.filter((s) => s.name === name);
    if (found.length > 0) tables[kind] = { problem, schedules: found.map(restricted) };
  }
  return tables as unknown as lowering.ScheduleTables;
}

const variantsOf = ({ kernels }: Program): readonly KernelVariant[] => kernels.flatMap((k) => [...k.special, k]);

function title({ schedule, settings, assuming }: KernelVariant): string {
  const where = assuming.length > 0 ? ` where ${assuming.map(lowering.printFact).join(" and ")}` : "";
  return `// ${lowering.printChoice(schedule, settings)}${where}`;
}

/** The program with its kernels exchanged for others, in the order of their variants. */
function withKernels(program: Program, kernels: readonly kernelIr.Kernel[]): Program {
  const rest = [...kernels];
  return {
    ...program,
    kernels: program.kernels.map((k) => {
      const special = k.special.map((v) => ({ ...v, kernel: rest.shift()! }));
      return { ...k, special, kernel: rest.shift()! };
    }),
  };
}

const sizesIn = (runs = ""): Sizes[] =>
  runs
    .split(";")
    .map((run) => Object.fromEntries([...run.matchAll(/(\w+)=(\d+)/g)].map(([, name, n]) => [name, Number(n)])));

function mistakes(program: Program, graph: Graph, sizes: Sizes, tolerance: number): string[] {
  const bound = bindSizes(graph, sizes);
  const drawn = inputValues(bound, 5);
  const values = new Map(
    bound.inputs.map((n) => {
      const all = drawn.get(inputName(n))!;
      return [inputName(n), n.type.dtype === "f16" ? Float64Array.from(Float16Array.from(all)) : all];
    }),
  );
  const { outputs, inputs } = runProgram(program, values, sizes);
  return [...evaluate(bound, values)].flatMap(([name, want]) => {
    const found = outputs.get(name)!;
    const replaced = graph.updates[name];
    expect(replaced === undefined || inputs.get(replaced)).toEqual(replaced === undefined || found);
    const over = excess(found, want.data, tolerance, tolerance);
    return over > 0 ? [`${name} is off by ${over} more than is granted`] : [];
  });
}

const files = filesBelow(`${import.meta.dirname}/golden/schedules`, ".golden").map(({ name, path }) => {
  const golden = read(readFileSync(path, "utf8"));
  const { adapter, by, runs } = golden.header;
  const facts = adapters[adapter as keyof typeof adapters];
  const graph = parseGraph(golden.graph, name);
  const program = compileKernels(graph, facts, by === undefined ? {} : { schedules: only(by) });
  const variants = variantsOf(program);
  const kernels = variants.map((v) => `${title(v)}\n${printKernel(v.kernel)}`).join("\n");
  const wgsl = variants.map((v) => `${title(v)}\n${emitWgsl(v.kernel)}`).join("\n");
  if (process.env.GOLDEN === "accept")
    writeFileSync(path, `${golden.comments}${printGraph(graph)}${kernelsLine}${kernels}${wgslLine}${wgsl}`);
  return { name, golden: read(readFileSync(path, "utf8")), graph, facts, program, kernels, wgsl, runs: sizesIn(runs) };
});

describe.each(files)("$name", ({ golden, graph, facts, program, kernels, wgsl, runs }) => {
  it("is a graph as it prints, and the kernels and WGSL that it becomes", () => {
    expect(golden.graph).toBe(printGraph(graph));
    expect(golden.kernels).toBe(kernels);
    expect(golden.wgsl).toBe(wgsl);
  });

  it("its kernels read back, hold together and compute what the reference does", () => {
    const parsed = kernelIr.parseKernels(golden.kernels);
    for (const kernel of parsed) {
      expect(kernelIr.verifyKernel(kernel)).toBe(kernel);
      expect(kernelIr.checkFeasible(kernel, { ...facts, features: new Set([...facts.features, "f16"]) })).toEqual([]);
    }
    const replaced = withKernels(program, parsed);
    for (const sizes of runs)
      expect(mistakes(replaced, graph, sizes, Number(golden.header.tolerance ?? 1e-4))).toEqual([]);
  });
});

it("every schedule of the tables makes some kernel here, every variant of an open size runs", () => {
  const made = new Set(
    files.flatMap(({ program }) => variantsOf(program).map((v) => `${v.kernel.kind} by ${v.schedule}`)),
  );
  const all = Object.entries(lowering.scheduleTables).flatMap(([kind, { schedules }]) =>
    schedules.map((s) => `${kind} by ${s.name}`),
  );
  expect(all.filter((name) => !made.has(name))).toEqual([]);
  for (const { name, program, runs } of files)
    for (const { schedule, assuming } of program.kernels.flatMap((k) => k.special)) {
      const run = runs.some((sizes) => lowering.holds(assuming, sizes));
      expect(run, `${name} runs ${schedule}`).toBe(true);
    }
});

it("Dawn takes the WGSL", async () => {
  const gpu = await validatingDevice();
  for (const { name, program } of files)
    for (const { kernel } of variantsOf(program)) {
      gpu.device.pushErrorScope("validation");
      const module = gpu.device.createShaderModule({ code: emitWgsl(kernel) });
      // The null device grants the least; of a kernel that needs more it checks the text alone.
      if (kernelIr.checkFeasible(kernel, { ...baselineFacts, features: new Set(["f16"]) }).length === 0)
        gpu.device.createComputePipeline({ layout: "auto", compute: { module } });
      expect((await gpu.settle(gpu.device.popErrorScope()))?.message, name).toBeUndefined();
    }
});
