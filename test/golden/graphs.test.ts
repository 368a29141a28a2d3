/**
 * Golden graphs: every .ir file below this folder is a graph, the pass it goes through, and what becomes of it. Each is
 * also a differential test: both graphs are evaluated on random inputs. `npm run golden` accepts what is printed now.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { evaluate } from "../../backends/reference/index.ts";
import { bindSizes, nodesOf, parseGraph, printGraph, type RuleEvent, symbolsIn } from "../../compiler/index.ts";
import { inputValues } from "../support/random-graph.ts";
import { runPasses } from "../support/run-passes.ts";
import { excess } from "../support/samples.ts";
import { filesBelow, type Golden, readGolden, writeGolden } from "./golden-file.ts";
import { passNamed } from "./passes.ts";

const accept = process.env.GOLDEN === "accept";
const files = filesBelow(import.meta.dirname, ".ir");

it("has graphs to check", () => {
  expect(files.length).toBeGreaterThan(10);
});

describe.each(files)("$name", ({ name, path }) => {
  const golden = readGolden(readFileSync(path, "utf8"), name);
  const events: RuleEvent[] = [];
  const before = parseGraph(golden.before, name);
  const after = runPasses(before, [passNamed(golden.header.pass, name)], {
    observers: [{ onRule: (event) => events.push(event) }],
    check: golden.header.pass === "differentiate" ? "forms" : "all",
  });
  const changed = printGraph(before) !== printGraph(after);
  const printed: Golden = {
    ...golden,
    before: printGraph(before),
    after: changed ? printGraph(after) : undefined,
  };
  if (accept) writeFileSync(path, writeGolden(printed));

  it("prints back to itself", () => {
    if (!accept) expect(printed.before).toBe(golden.before);
  });

  it("becomes what the file says", () => {
    if (!accept) expect(printed.after).toBe(golden.after);
  });

  it("means the same", () => {
    const symbols = symbolsIn(nodesOf(before)).map((s) => s.name);
    const sizes = Object.fromEntries([...symbols].sort().map((s, i) => [s, 3 + i]));
    const [a, b] = [bindSizes(before, sizes), bindSizes(after, sizes)];
    const values = inputValues(a, 5);
    const [want, got] = [evaluate(a, values), evaluate(b, values)];
    for (const [output, { data }] of want) {
      expect(excess(got.get(output)!.data, data, 1e-5, 1e-5), output).toBeLessThanOrEqual(0);
    }
  });

  if (golden.header.rule !== undefined) {
    it(`is about the rule ${golden.header.rule}`, () => {
      const about = events.filter((e) => e.rule === golden.header.rule);
      if (golden.header.refused === undefined) expect(about.some((e) => e.result)).toBe(true);
      else expect(about.map((e) => e.refused)).toContain(golden.header.refused);
    });
  }
});
