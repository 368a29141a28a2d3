/**
 * What is done with an op is said by its record. The places of the product that still ask which op a node is are listed
 * here, each with its reason: a new op, or another way to do an old one, must not need a look at a list of names.
 *
 * Rules of the rewrite language are no such places: what a rule is about, it says by the builders of its
 * pattern or by `of` and `operand`. Nor is a record that compares nodes of its own op.
 */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { opRecords } from "../../compiler/index.ts";
import { sourceFiles } from "./import-graph.ts";

interface Place {
  readonly file: string;
  /** A part of the line. */
  readonly text: string;
  readonly why: string;
}

const listed: readonly Place[] = [
  {
    file: "backends/onnx/emit/table.ts",
    text: "emitters[node.op]",
    why: "the home of ONNX's operators: one row for each op that needs more than its record's operator name",
  },
  {
    file: "backends/onnx/passes/expressible.ts",
    text: "wrong.get(node.op)",
    why: "asks for no name: what cannot be exported is told by op, with how often",
  },
  {
    file: "backends/onnx/emit/factors.ts",
    text: "ops.is(ops.mul, user)",
    why: "Gemm and FusedMatMul have a factor: a product of ONNX with a number in it, as the operator defines it",
  },
  {
    file: "backends/onnx/passes/share-gelu.ts",
    text: "ops.is(ops.gelu, node)",
    why: "shares gelu's error function with its gradient, which is about the spelling of that one function",
  },
  {
    file: "compiler/fusion/wanted.ts",
    text: "is(cast, n)",
    why: "an innermost loop can afford a conversion, which the load does anyway",
  },
  {
    file: "compiler/fusion/wanted.ts",
    text: "is(cast, node)",
    why: "a conversion to more bytes is not worth storing: whoever reads the value converts it",
  },
  {
    file: "compiler/fusion/wanted.ts",
    text: "is(mul, n)",
    why: "and a multiplication by a known scalar, as that of the queries of attention",
  },
  {
    file: "compiler/fusion/fuse-norms-into-products.ts",
    text: "is(cast, operand)",
    why: "a product converts what it norms as it loads it",
  },
  {
    file: "compiler/fusion/split-norm-sums.ts",
    text: "is(reduceSum, node)",
    why: "only of sums is it said how parts make them, where they are of squared differences",
  },
  {
    file: "compiler/fusion/split-norm-sums.ts",
    text: "is(mul, x)",
    why: "a square is the product of a value with itself",
  },
  {
    file: "compiler/fusion/split-norm-sums.ts",
    text: "is(sub, difference!)",
    why: "and a squared difference that of a difference: Chan's formula is about these",
  },
  {
    file: "cli/sample-feeds.ts",
    text: "ops.is(ops.max, index)",
    why: "an index that is limited by numbers is still that index: bounds of made-up inputs only",
  },
];

const rooms = ["compiler", "dsl", "backends", "runtime", "data", "models", "cli"];
/** Records, and the language in which rules name what they are about. */
const homes = /^compiler\/(ops\/|rewrite\/rule\.ts)/;
/** A file of rules: they say by builders what they are about, at the root and below it. */
const rules = /\brewritePass\(|\breadonly Rule\[\] = /;
/** Where `op` is an operation of the kernel IR, whose expressions are all that these files see. */
const kernelIr = /^(compiler\/kernel\/|backends\/webgpu\/emit\/)/;
/** Models import the language alone; what they spell so are words of their settings. */
const settings = /^models\//;

/** Ways to ask: comparisons, switches, patterns, sets and tables, and the builders' own question. */
const questions: readonly RegExp[] = [
  /\.op\s*[!=]==?\s*["'`]/,
  /["'`]\s*[!=]==?\s*[\w.!\])]*\.op\b/,
  /\bop\s*[!=]==?\s*["'`]/,
  /\brecord\.name\s*[!=]==?/,
  /\bswitch\s*\((?:[\w.!]*\.)?op\)/,
  /\b(?:has|get|includes|exec|test|indexOf)\([\w.!?\][]*\.op\)/,
  /\[[\w.!?]*\.op\]/,
  /\.op\s+in\s/,
  /\.op\.(?:startsWith|endsWith|includes|match|replace)\(/,
];
const byBuilder = /(?<![\w.])is\(\w+, |\bops\.is\(/;
const importsIs = /import \{[^}]*\bis\b[^}]*\} from "[./]+ops\/index\.ts"|\bops\.is\(/;

/** Names that are no other word of the product: as literals they can only mean the op. */
const words = new Set(
  [
    "add",
    "sub",
    "mul",
    "div",
    "mod",
    "max",
    "min",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "and",
    "or",
    "not",
    "neg",
  ].concat(
    [
      "abs",
      "exp",
      "log",
      "sqrt",
      "sin",
      "cos",
      "pow",
      "floor",
      "select",
      "cast",
      "erf",
      "tanh",
      "relu",
      "gelu",
      "silu",
    ],
    ["input", "parameter", "random", "constant", "size", "attention", "window", "split", "slice", "pad", "merge"],
  ),
);
const names = opRecords()
  .map((r) => r.name)
  .filter((n) => !words.has(n));
const literal = new RegExp(`["'\`](?:${names.join("|")})["'\`]`);
/** Making a node is no question. */
const making = /\b(?:build|intern)\(\s*["'`]/;

interface Found {
  readonly file: string;
  readonly line: number;
  readonly text: string;
}

/** The lines of a file that ask for an op's name. */
function asking(file: string, source: string): Found[] {
  if (homes.test(file) || kernelIr.test(file)) return [];
  return source.split("\n").flatMap((text, i) => {
    const code = text.replace(/\/\/.*$/, "");
    if (/^\s*\*|^\s*\/\*/.test(code)) return [];
    const matches = byBuilder.test(code) && importsIs.test(source) && !rules.test(source);
    const asks = (matches || questions.some((q) => q.test(code))) && !/\bkind === "arith"/.test(code);
    const spells = literal.test(code) && !making.test(code) && !settings.test(file);
    return asks || spells ? [{ file, line: i + 1, text: text.trim() }] : [];
  });
}

const found = rooms
  .flatMap((room) => sourceFiles(".", room))
  .flatMap((file) => asking(file, readFileSync(file, "utf8")));
const isAt = (place: Place, f: Found) => f.file === place.file && f.text.includes(place.text);

describe("op names outside records", () => {
  it("are asked for where the list says, and nowhere else", () => {
    const unlisted = found.filter((f) => !listed.some((p) => isAt(p, f)));
    expect(unlisted.map((f) => `${f.file}:${f.line}: ${f.text}`)).toEqual([]);
  });

  it("are asked for in fewer than 20 places", () => {
    expect(listed.length).toBeLessThan(20);
    for (const { why } of listed) expect(why.length).toBeGreaterThan(20);
  });

  it("are still asked for at every place of the list", () => {
    const gone = listed.filter((p) => !found.some((f) => isAt(p, f)));
    expect(gone).toEqual([]);
  });

  it.each([
    'if (node.op === "concat") return;',
    'const attention = node.op.startsWith("attention");',
    "const special = tables[node.op];",
    "switch (node.op) {",
    "if (cheap.has(node.op)) return;",
    'if ("rename" === node.op) return;',
    "return ops.is(ops.slice, node);",
    'const halves = new Set(["gather", "softmax"]);',
    'const { op } = node; if (op === "mul") return;',
  ])("are found in: %s", (line) => {
    expect(asking("compiler/passes/x.ts", line)).toHaveLength(1);
  });

  it.each([
    'return build("concat", parts, { axis });',
    "const record = opRecord(node.op);",
    'if (e.kind === "arith") return e;',
  ])("are not found in: %s", (line) => {
    expect(asking("compiler/passes/x.ts", line)).toEqual([]);
  });
});
