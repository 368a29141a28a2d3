/** The documents that show text: docs/ops.md is what the op records say, and every graph in docs/ir.md reads. */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { opRecords, parseGraph, printGraph } from "../../compiler/index.ts";
import { opsPage } from "./ops-page.ts";
import { specialPage } from "./special-page.ts";

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
