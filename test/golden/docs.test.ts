/**
 * The documents that show text: docs/ops.md is what the op records say, every graph in docs/ir.md and kernel in
 * docs/kernels.md reads, and the tables of docs/architecture.md are the lists of stages and the rooms.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { onnxStages, settledOptions } from "../../backends/onnx/index.ts";
import {
  type AnyStage,
  baselineFacts,
  kernelIr,
  opRecords,
  parseGraph,
  parseKernel,
  printGraph,
  printKernel,
  referenceStages,
  webgpuStages,
} from "../../compiler/index.ts";
import { rooms } from "../architecture/rooms.ts";
import { opsPage } from "./ops-page.ts";
import { specialPage } from "./special-page.ts";
import { readRows, stageRow, withRows } from "./stage-tables.ts";

const doc = (name: string) => new URL(`../../docs/${name}`, import.meta.url);
const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((m) => m[1]!);

describe("docs/ops.md", () => {
  it("is what the op records say", () => {
    const page = opsPage();
    if (process.env.GOLDEN === "accept") writeFileSync(doc("ops.md"), page);
    expect(readFileSync(doc("ops.md"), "utf8")).toBe(page);
    for (const { name } of opRecords()) expect(page).toContain(`\n### ${name}\n`);
  });
});

describe("docs/special-values.md", () => {
  it("is what the op records and the exceptions say", () => {
    const page = specialPage();
    if (process.env.GOLDEN === "accept") writeFileSync(doc("special-values.md"), page);
    expect(readFileSync(doc("special-values.md"), "utf8")).toBe(page);
  });
});

describe("docs/ir.md", () => {
  const text = readFileSync(doc("ir.md"), "utf8");

  it.each(blocks(text, "graph").map((graph, i) => ({ i, graph })))("graph $i reads", ({ graph }) => {
    expect(parseGraph(graph).outputs.length).toBeGreaterThan(0);
  });

  it("shows a printed graph as it prints", () => {
    const printed = blocks(text, "graph")[0]!;
    expect(printGraph(parseGraph(printed))).toBe(printed);
  });

  it("its grammar names every word of the language", () => {
    const [grammar = ""] = blocks(text, "ebnf");
    for (const word of ["graph", "function", "return", "repeat", "call", "as", "with", "updates", "state"]) {
      expect(grammar).toContain(`"${word}"`);
    }
  });
});

describe("docs/kernels.md", () => {
  const text = readFileSync(doc("kernels.md"), "utf8");
  const printed = blocks(text, "kernel")[0]!;

  it("shows a printed kernel as it prints", () => {
    expect(printKernel(parseKernel(printed))).toBe(printed);
  });

  it("says what that kernel computes", () => {
    const b0 = Float64Array.from({ length: 80 }, (_, i) => i % 3);
    const b1 = new Float64Array(10).fill(Number.NaN);
    kernelIr.interpretKernel(parseKernel(printed), { b0, b1 });
    const rows = Array.from({ length: 10 }, (_, row) => b0.slice(8 * row, 8 * row + 8));
    expect([...b1]).toEqual(rows.map((row) => row.reduce((sum, v) => sum + v * v, 0)));
  });

  it("its grammar names every word of the language", () => {
    const [grammar = ""] = blocks(text, "ebnf");
    const { kernelKinds, kernelFeatures, fragmentRoles, majorOrders, builtins, subgroupOps } = kernelIr;
    const own = [
      "kernel",
      "sizes",
      "let",
      "var",
      "for",
      "if",
      "barrier",
      "fill",
      "load",
      "store",
      "stride",
      "by",
      "grid",
    ];
    const functions = [...builtins, ...subgroupOps.map((o) => `subgroup_${o}`)];
    const words = [...own, ...kernelKinds, ...kernelFeatures, ...fragmentRoles, ...majorOrders, ...functions];
    for (const word of words) expect(grammar).toContain(`"${word}"`);
  });
});

describe("docs/architecture.md", () => {
  const lists: Readonly<Record<string, readonly AnyStage[]>> = {
    webgpu: webgpuStages(baselineFacts),
    onnx: onnxStages(settledOptions()),
    reference: referenceStages({}),
  };
  const text = () => readFileSync(doc("architecture.md"), "utf8");

  it.each(Object.keys(lists))("lists the stages of the pipeline to %s, each with what it does", (target) => {
    const stages = lists[target]!;
    if (process.env.GOLDEN === "accept") writeFileSync(doc("architecture.md"), withRows(text(), target, stages));
    const rows = readRows(text(), target);
    expect(rows.map((r) => r.fact)).toEqual(stages.map(stageRow));
    for (const { fact, says } of rows) expect(says, fact).toMatch(/^\w.{10,}/);
  });

  it("lists the rooms of the compiler from the top down", () => {
    const told = [...text().matchAll(/^\| `(compiler\/\w+)` \|/gm)].map((m) => m[1]!);
    expect(told).toEqual(Object.keys(rooms).filter((room) => room.startsWith("compiler/")));
    for (const [i, room] of told.entries())
      for (const other of rooms[room]!.imports.filter((r) => r in rooms)) expect(told.indexOf(other)).toBeLessThan(i);
  });

  it("names files that are there", () => {
    const paths = [...text().matchAll(/`((?:backends|compiler|dsl|test|runtime)\/[\w/.-]+)`/g)].map((m) => m[1]!);
    expect(paths.length).toBeGreaterThan(20);
    expect(paths.filter((path) => !existsSync(new URL(`../../${path}`, import.meta.url)))).toEqual([]);
  });
});
