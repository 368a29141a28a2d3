/** The pass driver and its switches: order, faults, observers. */
import { describe, expect, it, vi } from "vitest";
import {
  beforeAndAfter,
  canonicalize,
  fold,
  globMatches,
  graphForm,
  inspectionPage,
  isStageFault,
  makeGraph,
  type Node,
  ops,
  type Pass,
  readSwitches,
  recordingObserver,
  switchHelp,
  switchObservers,
} from "../../compiler/index.ts";
import { runPasses } from "../support/run-passes.ts";

const x = ops.input("x", "f32", [{ name: "a", size: 3 }]);
const graph = makeGraph("g", [{ name: "y", node: ops.add(x, ops.mul(ops.constant(0.5), ops.constant(0))) }]);
const thrown = (body: () => unknown): unknown => {
  try {
    body();
  } catch (error) {
    return error;
  }
  return undefined;
};

describe("runPasses", () => {
  it("runs passes in order and reports each", () => {
    const record = recordingObserver();
    runPasses(graph, [fold, canonicalize, fold], { observers: [record], check: "all" });
    expect(record.reports.map((r) => [r.stage, r.changed])).toEqual([
      ["fold", true],
      ["canonicalize", true],
      ["fold", false],
    ]);
    expect(beforeAndAfter(record.reports[2]!)).toMatch(/^\/\/ fold \(unchanged\)\ngraph @g/);
    expect(beforeAndAfter(record.reports[0]!)).toMatch(/^\/\/ before fold\n[\s\S]*\n\/\/ after fold\ngraph/);
  });

  it("shows all passes on one page", () => {
    const record = recordingObserver();
    runPasses(graph, [fold, canonicalize, fold], { observers: [record] });
    const page = inspectionPage("a <model>", record.reports);
    expect(page).toContain("<h1>a &lt;model&gt;</h1>");
    expect(page).toContain('<span class="gone">  %0 = mul f32(0.5), f32(0) : f32[]</span>');
    expect(page.match(/\(unchanged\)<\/p>/g)).toHaveLength(1);
    expect(page).not.toMatch(/https?:|src=/);
  });

  it("refuses an order that a pass cannot work in", () => {
    const late: Pass = { name: "late", needs: ["fold"], run: (g) => g };
    expect(() => runPasses(graph, [late, fold])).toThrow(`stage "late" needs "fold" before it`);
    expect(runPasses(graph, [fold, late])).toBeDefined();
  });

  it("names the pass of a fault and hands over the graph from before it", () => {
    const bent: Node = { ...x, op: "neg", operands: [x], attrs: {}, type: { dtype: "f32", axes: [] } };
    const breaks: Pass = { name: "breaks", run: (g) => ({ ...g, outputs: [{ name: "y", node: bent }] }) };
    const error = thrown(() => runPasses(graph, [breaks]));
    expect(isStageFault(error) && [error.stage, error.before]).toEqual([
      "breaks",
      expect.stringContaining("graph @g("),
    ]);
    expect(String(error)).toContain(`after pass "breaks"`);
  });

  it("verifies what the first pass is given, and each graph once that a pass makes", () => {
    const bent: Node = { ...x, op: "neg", operands: [x], attrs: {}, type: { dtype: "f32", axes: [] } };
    const wrong = { ...graph, outputs: [{ name: "y", node: bent }] };
    const kept: Pass = { name: "kept", run: (g) => ({ ...g }) };
    expect(() => runPasses(wrong, [kept, fold])).toThrow(`after pass "kept"`);
    const breaks: Pass = { name: "breaks", run: () => wrong };
    expect(() => runPasses(graph, [kept, breaks, kept])).toThrow(`after pass "breaks"`);
    const verified = vi.spyOn(graphForm, "verify");
    runPasses(graph, [kept, fold, kept, kept, fold], { check: "all" });
    expect(verified.mock.calls.map(([, name]) => name)).toEqual(["kept", "fold"]);
  });

  it("CHECK=all catches a pass that is not idempotent", () => {
    const grows: Pass = {
      name: "grows",
      run: (g) => ({ ...g, outputs: g.outputs.map((o) => ({ ...o, node: ops.exp(o.node) })) }),
    };
    expect(runPasses(graph, [grows])).toBeDefined();
    expect(() => runPasses(graph, [grows], { check: "all" })).toThrow(`stage "grows" changes what it made itself`);
  });
});

describe("switches", () => {
  it("dump, trace and time what they name", () => {
    const lines: string[] = [];
    const switches = readSwitches({ DUMP: "ir:fo*", TRACE: "rules:canonicalize", TIME: "passes" });
    runPasses(graph, [fold, canonicalize], { observers: switchObservers(switches, (line) => lines.push(line)) });
    const text = lines.join("\n");
    expect(text).toContain("// after fold\ngraph @g");
    expect(text).not.toContain("// after canonicalize");
    expect(text).toMatch(/canonicalize\/add-zero: makes input at add, test\/property\/driver.test.ts:\d+:\d+/);
    expect(text).toMatch(/fold +[\d.]+ ms {3}3 nodes/);
  });

  it("refuse what they do not know", () => {
    expect(() => readSwitches({ DUMP: "wgls:*" })).toThrow(`there is no "wgls" to dump; did you mean "wgsl"?`);
    expect(() => readSwitches({ TIME: "steps" })).toThrow("it takes passes");
    expect(() => readSwitches({ SEED: "x" })).toThrow("SEED=x");
    expect(() => readSwitches({ CHECK: "some" })).toThrow("CHECK=some");
    expect(readSwitches({})).toEqual({ dump: [], trace: [], time: [], check: "forms", seed: undefined });
  });

  it("are listed with an example that reads", () => {
    for (const { name, example } of switchHelp) {
      const [key, value] = example.split("=");
      expect(key).toBe(name);
      expect(() => readSwitches({ [name]: value })).not.toThrow();
    }
  });

  it("match names with stars, in time that does not explode", () => {
    expect(["fuse-*", "*softmax*", "*", "a*b*c"].map((p) => globMatches(p, "fuse-softmax-x"))).toEqual([
      true,
      true,
      true,
      false,
    ]);
    expect(globMatches("a*b*c", "aXbYc")).toBe(true);
    expect(globMatches("ab*ba", "aba")).toBe(false);
    expect(globMatches(`${"*a".repeat(60)}b`, "a".repeat(5000))).toBe(false);
  });
});
