/** The text form: any graph prints to text that reads back to the same nodes, and no text crashes the parser. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkGraphText,
  type Graph,
  makeGraph,
  mulDims,
  nodesOf,
  ones,
  ops,
  parseGraph,
  printGraph,
  symbol,
} from "../../compiler/index.ts";
import { graphArbitrary, randomGraph, seededChooser } from "../support/random-graph.ts";
import { repeatedGraph } from "../support/repeated-graph.ts";
import { seeded } from "../support/samples.ts";
import { internVit6B, vitForward, vitTraining } from "../support/vit.ts";

/** The same nodes, not only equal ones; toBe alone would print whole graphs where it fails. */
function expectSame(graph: Graph, text: string): void {
  const read = parseGraph(text);
  expect(printGraph(read)).toBe(text);
  expect(read.name).toBe(graph.name);
  expect(read.updates).toEqual(graph.updates);
  expect(read.outputs.map((o) => o.name)).toEqual(graph.outputs.map((o) => o.name));
  expect(read.outputs.every((o, i) => o.node === graph.outputs[i]!.node)).toBe(true);
  expect(read.inputs.length).toBe(graph.inputs.length);
  expect(read.inputs.every((n, i) => n === graph.inputs[i])).toBe(true);
}

describe("a random graph reads back to its own nodes", () => {
  it("with any op and dtype", () => {
    const graphs = graphArbitrary({ jumps: true, f16: true, maxSteps: 20 });
    fc.assert(
      fc.property(graphs, (g) => expectSame(g, printGraph(g))),
      { numRuns: 150 },
    );
  });

  it("with symbolic sizes", () => {
    fc.assert(
      fc.property(graphArbitrary({ symbols: true }), (g) => expectSame(g, printGraph(g))),
      { numRuns: 100 },
    );
  });
});

describe("sizes with bounds", () => {
  const bounds = fc.record({
    min: fc.integer({ min: 1, max: 16 }),
    max: fc.oneof(fc.constant(Number.POSITIVE_INFINITY), fc.integer({ min: 20, max: 60 })),
    multipleOf: fc.constantFrom(1, 1, 2, 3, 16),
  });

  it("read back with them, in types and in attributes", () => {
    fc.assert(
      fc.property(bounds, bounds, (ofRows, ofPast) => {
        const [rows, past] = [symbol("rows", ofRows), symbol("past", ofPast)];
        const x = ops.input("x", "f32", [{ name: "a", size: rows }]);
        const y = ops.mul(ops.pad(x, "a", 0, past), ops.sizeOf(mulDims(past, 3)));
        const g = makeGraph("g", [{ name: "y", node: y }]);
        expectSame(g, printGraph(g));
      }),
    );
  });

  it("are declared before the graph, without what goes without saying", () => {
    const text = `symbol batch in 1..4
symbol past multiple of 16
symbol rows in 3..
symbol tokens in 8..2048 multiple of 8
graph @g(%x: f32[b=batch, t=tokens], %y: f32[r=rows, p=past+tokens]) {
  %0 = relu %x : f32[b=batch, t=tokens]
  return %0, %y
}
`;
    const graph = parseGraph(text);
    expect(printGraph(graph)).toBe(text);
    expect(graph.inputs[0]!.type.axes.map((a) => a.size)).toEqual([
      symbol("batch", { max: 4 }),
      symbol("tokens", { min: 8, max: 2048, multipleOf: 8 }),
    ]);
  });
});

describe("what repeats itself reads back to its own nodes", () => {
  it("with operands that follow a rule and operands that do not", () => {
    for (let seed = 0; seed < 1000; seed++) {
      const graph = repeatedGraph(seededChooser(seed));
      expectSame(graph, printGraph(graph));
    }
  });

  it("a polynomial by Horner's rule, whose first iteration reads the signature, is a loop", () => {
    const axes = [{ name: "a", size: 2 }];
    const x = ops.input("x", "f32", axes);
    const terms = Array.from({ length: 8 }, (_, i) => ops.parameter(`a${i}`, "f32", axes, ones));
    const y = terms.reduce((sum, term) => ops.add(ops.mul(sum, x), term), x);
    const graph = makeGraph("horner", [{ name: "y", node: y }]);
    const text = printGraph(graph);
    expect(text).toContain("repeat 8 as i with %1[-1] = %x");
    expectSame(graph, text);
  });
});

describe("any name and any number", () => {
  const awkward = [
    "",
    "0",
    "inf",
    "graph",
    "a b",
    "{i}",
    "}}",
    'say "x"',
    "\\n",
    "é.ü",
    "line\nbreak",
    "__proto__",
    "blocks.007.w",
    "%x",
  ];
  const name = fc.oneof(fc.constantFrom(...awkward), fc.string({ unit: "binary", maxLength: 6 }));

  it("of inputs, axes, outputs and graphs reads back", () => {
    const names = fc.uniqueArray(name, { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(names, name, ([a, b, x, p, y, z], graph) => {
        const axes = [a!, b!].map((n, i) => ({ name: n, size: i + 2 }));
        const [input, parameter] = [ops.input(x!, "f32", axes), ops.parameter(p!, "f32", axes.slice(1), ones)];
        const sum = ops.reduceSum(ops.mul(input, parameter), [a!]);
        const outputs = [y!, z!].map((n, i) => ({ name: n, node: i === 0 ? sum : ops.rename(input, a!, `${a}'`) }));
        const g = makeGraph(graph, outputs, [input]);
        expectSame(g, printGraph(g));
      }),
      { numRuns: 200 },
    );
  });

  it("in constants and distributions reads back to the last bit", () => {
    const number = fc.oneof(
      fc.double({ min: -3e38, max: 3e38 }), // an f32 is finite where the number is
      fc.constantFrom(-0, 5e-324, 1e21, -1e-7, Number.POSITIVE_INFINITY, Number.NaN),
    );
    fc.assert(
      fc.property(number, number, number, (v, mean, std) => {
        const x = ops.parameter("x", "f32", [{ name: "a", size: 2 }], { kind: "normal", mean, std });
        const table = ops.table([v, mean], x.type.axes);
        const g = makeGraph("g", [
          { name: "y", node: ops.add(ops.mul(x, v), table) },
          { name: "c", node: ops.constant(v) },
        ]);
        expectSame(g, printGraph(g));
      }),
      { numRuns: 200 },
    );
  });
});

const small = { depth: 5, batch: symbol("batch"), patch: 5, pixel: 6, heads: 2, headDim: 4, hidden: 16 };

describe("layers are rolled into loops", () => {
  it("48 blocks of InternViT print as one, in fewer than 400 lines", () => {
    const text = printGraph(vitForward(internVit6B));
    expect(text.split("\n").length).toBeLessThan(60);
    expect(text).toContain("repeat 48 as i");
    expectSame(vitForward(internVit6B), text);
  });

  it("a training step rolls up forward, backward, updates and results", () => {
    const graph = vitTraining({ ...internVit6B, depth: 24 });
    const text = printGraph(graph);
    expect(nodesOf(graph).length).toBeGreaterThan(4000);
    expect(text.split("\n").length).toBeLessThan(300);
    expect(text.match(/repeat 24/g)?.length).toBe(4);
    expectSame(graph, text);
  });

  it("rates that differ from layer to layer are listed", () => {
    const graph = vitTraining({ ...small, depth: 8 }, 0.4);
    expect(printGraph(graph)).toMatch(/bernoulli\(p=\[0\.9\d*, /);
    expectSame(graph, printGraph(graph));
  });

  it("and a loop variable never takes the name of a size", () => {
    const graph = vitForward({ ...small, batch: symbol("i") });
    expect(printGraph(graph)).toContain("repeat 5 as j");
    expectSame(graph, printGraph(graph));
  });
});

/** Fragments that break a text in interesting places. */
const junk = [
  "%",
  "{",
  "}",
  "[",
  "]",
  "(",
  ")",
  ",",
  "\n",
  ":",
  "=",
  '"',
  "\\",
  "repeat 3 as i {",
  "return ",
  " i ",
  "1e99",
];
const words = [
  "-",
  "*",
  "@",
  "é",
  "{i}",
  "f32",
  "toString",
  "__proto__",
  "constructor",
  "%h[i-1]",
  "function @f(%x) {\n",
];

function broken(text: string, seed: number): string {
  const next = seeded(seed);
  for (let edits = 1 + Math.floor(next() * 4); edits > 0; edits--) {
    const at = Math.floor(next() * text.length);
    const all = [...junk, ...words];
    const insert = next() < 0.6 ? all[Math.floor(next() * all.length)]! : "";
    text = text.slice(0, at) + insert + text.slice(at + Math.floor(next() * 8));
  }
  return text;
}

describe("broken text", () => {
  it("gives mistakes at places within it, never a crash", () => {
    const whole = Array.from({ length: 40 }, (_, seed) => printGraph(randomGraph(seededChooser(seed))));
    for (let seed = 0; seed < 400; seed++) {
      const text = broken(whole[seed % 40]!, seed);
      const lines = text.split("\n");
      for (const m of checkGraphText(text).mistakes) {
        expect(m.line).toBeGreaterThanOrEqual(1);
        expect(m.line).toBeLessThanOrEqual(lines.length);
        expect(m.column).toBeLessThanOrEqual(lines[m.line - 1]!.length + 1);
      }
    }
  });

  it("tells each mistake once, of syntax and of meaning alike, and nothing that follows from one", () => {
    const loseSign = (line: string) => line.replace("%", "");
    const spoilt = [
      (line: string) => line.replace(/= \w+/, "= nonsuch"),
      (line: string) => line.replace(/= (\w+)/, "= $1 §"),
      (line: string) => line.replace(" = ", " == "),
      (line: string) => line.replace(" = ", " "),
      loseSign,
      (line: string) => line.replace(/\]([^\]]*)$/, "$1"),
      (line: string) => line.replace(/ = .*/, " = "),
    ];
    const deep = [vitTraining({ ...small, depth: 6 }), vitForward({ ...small, depth: 9 })].map(printGraph);
    for (let seed = 0; seed < 300; seed++) {
      const next = seeded(seed);
      const whole = seed % 10 < 2 ? deep[seed % 10]! : printGraph(randomGraph(seededChooser(seed)));
      const wrong = new Set<number>();
      const lines = whole.split("\n");
      const text = lines.map((line, i) => {
        const heads = /^graph @|^ *repeat .*\{$/.test(line) && next() < 0.2;
        if (!heads && !(/^ *%[\w.]+ = .* : /.test(line) && next() < 0.3)) return line;
        wrong.add(i + 1);
        if (heads) return line.replace(" ", " § ");
        // A bracket left open and a name without its sign are one mistake: the name may be that of an axis.
        const unsigned = wrong.has(i) ? spoilt.filter((f) => f !== loseSign) : spoilt;
        return unsigned[Math.floor(next() * unsigned.length)]!(line);
      });
      const { mistakes } = checkGraphText(text.join("\n"));
      const rest = mistakes.filter((m) => !wrong.has(m.line)).map((m) => `${m.line}: ${m.message}`);
      expect(rest, text.join("\n")).toEqual([]);
      expect([seed, ...new Set(mistakes.map((m) => m.line))], text.join("\n")).toEqual([seed, ...wrong]);
    }
  });

  it("nested without end is refused, not run into the end of the stack", () => {
    const many = 20_000;
    const loops = `graph @g() {\n${"repeat 1 as i {\n".repeat(many)}`;
    const lists = `graph @g(%x: f32[]) {\n  %0 = mul %x, ${"[".repeat(many)}\n`;
    for (const text of [loops, lists, "(".repeat(many)]) {
      expect(checkGraphText(text).mistakes[0]?.message).toContain("brackets are nested more than");
    }
    const calls = Array.from(
      { length: 300 },
      (_, n) => `function @f${n + 1}(%x) {\n  %y = call @f${n}(%x)\n  return %y\n}\n`,
    );
    const text = `function @f0(%x) {\n  return %x\n}\n${calls.join("")}graph @g(%x: f32[]) {\n  return %x\n}\n`;
    expect(checkGraphText(text).mistakes[0]?.message).toContain("more than 100 deep");
  });

  it("with the line ends of another system is the same graph", () => {
    const graph = vitForward({ ...small, depth: 9 });
    expectSame(graph, printGraph(graph));
    expect(parseGraph(printGraph(graph).replaceAll("\n", "\r\n")).outputs[0]!.node).toBe(graph.outputs[0]!.node);
  });

  it("that would unroll without end is refused", () => {
    const loops = "graph @g(%x: f32[]) {\n  repeat 99999999 as i {\n    %y = relu %x\n  }\n  return %x\n}\n";
    expect(checkGraphText(loops).mistakes[0]?.message).toContain("iterations");
    const nested = (n: number) =>
      `function @f${n}(%x: f32[]) {\n  %a = call @f${n - 1}(%x)\n  %b = call @f${n - 1}(%a)\n  return %b\n}\n`;
    const calls = Array.from({ length: 40 }, (_, n) => nested(n + 1)).join("");
    const text = `function @f0(%x: f32[]) {\n  %y = relu %x\n  return %y\n}\n${calls}graph @g(%x: f32[]) {\n  %y = call @f40(%x)\n  return %y\n}\n`;
    expect(checkGraphText(text).mistakes.at(-1)?.message).toContain("more than");
  });
});
