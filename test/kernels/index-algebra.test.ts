/** The index algebra against plain evaluation: every builder must keep the value, and the bounds must hold it. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Expr,
  evaluateIndex,
  index,
  indexVar,
  int,
  keyOf,
  printExpr,
  rangeOf,
  sizeSymbol,
} from "../../compiler/kernel/index.ts";

const { add, and, clampIndex, div, eq, le, lt, max, min, mod, mul, sub, substitute } = index;

const sizes = { i: 3, j: 5, k: 7 } as const;
/** Sizes that are open until a run, by the most that they are. */
const open = { m: 2, n: 4 } as const;
type Point = Readonly<Record<keyof typeof sizes | keyof typeof open, number>>;

/** An expression built by the algebra beside what it must be at a point. */
interface Pair {
  readonly expr: Expr;
  readonly value: (p: Point) => number;
}

const leaf = fc.oneof(
  fc
    .constantFrom(...(Object.keys(sizes) as (keyof typeof sizes)[]))
    .map((name): Pair => ({ expr: indexVar(name, sizes[name]), value: (p) => p[name] })),
  fc.integer({ min: 0, max: 12 }).map((n): Pair => ({ expr: int(n), value: () => n })),
);
const symbol = fc
  .constantFrom(...(Object.keys(open) as (keyof typeof open)[]))
  .map((name): Pair => ({ expr: sizeSymbol(name, { min: 1, max: open[name] }), value: (p) => p[name] }));
/** A number from 1 on, an open size, or a product or sum of both. */
const known = fc.integer({ min: 1, max: 12 }).map((n): Pair => ({ expr: int(n), value: () => n }));
const positive = fc.oneof(
  { weight: 3, arbitrary: known },
  { weight: 3, arbitrary: symbol },
  fc.tuple(symbol, known).map(([a, b]): Pair => ({ expr: mul(a.expr, b.expr), value: (p) => a.value(p) * b.value(p) })),
  fc
    .tuple(symbol, symbol)
    .map(([a, b]): Pair => ({ expr: mul(a.expr, b.expr), value: (p) => a.value(p) * b.value(p) })),
  fc.tuple(symbol, known).map(([a, b]): Pair => ({ expr: add(a.expr, b.expr), value: (p) => a.value(p) + b.value(p) })),
);

const pair = fc.letrec<{ e: Pair }>((tie) => ({
  e: fc.oneof(
    { maxDepth: 5, depthSize: "large" },
    leaf,
    symbol,
    fc
      .tuple(tie("e"), tie("e"))
      .map(([a, b]): Pair => ({ expr: add(a.expr, b.expr), value: (p) => a.value(p) + b.value(p) })),
    fc
      .tuple(tie("e"), positive)
      .map(([a, n]): Pair => ({ expr: mul(a.expr, n.expr), value: (p) => a.value(p) * n.value(p) })),
    fc
      .tuple(tie("e"), positive)
      .map(([a, n]): Pair => ({ expr: div(a.expr, n.expr), value: (p) => Math.floor(a.value(p) / n.value(p)) })),
    fc
      .tuple(tie("e"), positive)
      .map(([a, n]): Pair => ({ expr: mod(a.expr, n.expr), value: (p) => a.value(p) % n.value(p) })),
    // An index split by one size and put together again, with something between.
    fc.tuple(tie("e"), positive, tie("e")).map(
      ([a, n, b]): Pair => ({
        expr: add(add(mul(div(a.expr, n.expr), n.expr), b.expr), mod(a.expr, n.expr)),
        value: (p) => a.value(p) + b.value(p),
      }),
    ),
    fc
      .tuple(tie("e"), tie("e"))
      .map(([a, b]): Pair => ({ expr: min(a.expr, b.expr), value: (p) => Math.min(a.value(p), b.value(p)) })),
    fc
      .tuple(tie("e"), tie("e"))
      .map(([a, b]): Pair => ({ expr: max(a.expr, b.expr), value: (p) => Math.max(a.value(p), b.value(p)) })),
    fc.tuple(tie("e"), tie("e")).map(
      ([a, b]): Pair => ({
        expr: max(sub(a.expr, b.expr), int(0)),
        value: (p) => Math.max(a.value(p) - b.value(p), 0),
      }),
    ),
  ),
})).e;

const points: Point[] = [];
for (let m = 1; m <= open.m; m++)
  for (let n = 1; n <= open.n; n++)
    for (let i = 0; i < sizes.i; i++)
      for (let j = 0; j < sizes.j; j++) for (let k = 0; k < sizes.k; k++) points.push({ i, j, k, m, n });

const at = (e: Expr, { m, n, ...p }: Point) => evaluateIndex(e, { m, n }, p);

test("an expression has no value while a variable or a size has none", () => {
  expect(() => evaluateIndex(add(indexVar("i", 3), int(1)))).toThrow("the variable i has no value");
  expect(() => evaluateIndex(sizeSymbol("m", { min: 1, max: 4 }))).toThrow("the size $m has no value");
});

describe("index algebra", () => {
  test("keeps the value of every expression and bounds it", () => {
    fc.assert(
      fc.property(pair, ({ expr, value }) => {
        const range = rangeOf(expr);
        for (const p of points) {
          const v = at(expr, p);
          if (v !== value(p)) throw new Error(`${printExpr(expr)} is ${v} at ${JSON.stringify(p)}, not ${value(p)}`);
          if (v < range.min || v > range.max)
            throw new Error(`${printExpr(expr)} is ${v}, outside ${range.min} .. ${range.max}`);
        }
      }),
      { numRuns: 400, seed: 7 },
    );
  });

  test("comparisons agree with their operands", () => {
    fc.assert(
      fc.property(pair, pair, (a, b) => {
        const all = and(le(a.expr, b.expr), lt(b.expr, int(20)));
        const same = eq(a.expr, b.expr);
        for (const p of points) {
          expect(at(all, p)).toBe(a.value(p) <= b.value(p) && b.value(p) < 20 ? 1 : 0);
          expect(at(same, p)).toBe(a.value(p) === b.value(p) ? 1 : 0);
        }
      }),
      { numRuns: 100, seed: 7 },
    );
  });

  test("substitution evaluates as binding does", () => {
    fc.assert(
      fc.property(pair, pair, (a, b) => {
        const bounded = clampIndex(b.expr, int(sizes.i));
        const put = substitute(a.expr, new Map([["i", bounded]]));
        for (const p of points) expect(at(put, p)).toBe(a.value({ ...p, i: Math.min(b.value(p), sizes.i - 1) }));
      }),
      { numRuns: 100, seed: 7 },
    );
  });

  const [i, j, k] = [indexVar("i", 8), indexVar("j", 4), indexVar("k", 6)];
  const [m, n] = [sizeSymbol("m"), sizeSymbol("n")];
  const area = mul(m, n);
  const flat = add(mul(add(mul(i, int(4)), j), int(6)), k);
  const simplest: readonly [string, Expr, string][] = [
    ["a sum of multiples divides exactly", div(flat, int(6)), "((i * 4) + j)"],
    ["the remainder is what is left", mod(flat, int(6)), "k"],
    ["a quotient of a quotient is one", mod(div(flat, int(6)), int(4)), "j"],
    [
      "parts of an index join again",
      add(mul(div(indexVar("x", 24), int(6)), int(6)), mod(indexVar("x", 24), int(6))),
      "x",
    ],
    ["three parts join too", rejoined(), "x"],
    ["a constant survives the joining", shifted(), "(x + 5)"],
    [
      "two parts of three join",
      add(mul(mod(div(indexVar("x", 240), int(3)), int(4)), int(3)), mod(indexVar("x", 240), int(3))),
      "(x % 12)",
    ],
    ["equal terms cancel", sub(add(i, j), i), "j"],
    ["a clamp within bounds is none", clampIndex(i, int(8)), "i"],
    ["parts of an index by an open size join again", add(mul(div(i, n), n), mod(i, n)), "i"],
    ["they join as multiples too", add(mul(mul(div(i, n), n), int(16)), mul(mod(i, n), int(16))), "(i * 16)"],
    ["multiples of an open size divide exactly", div(add(mul(i, n), mod(j, n)), n), "i"],
    ["the remainder of such a sum is what is left", mod(add(mul(i, n), mod(j, n)), n), "(j % $n)"],
    ["a product of sizes divides by each", div(mul(mul(area, i), int(4)), n), "(($m * i) * 4)"],
    ["what is below the least of a size has no quotient", div(i, sizeSymbol("n", { min: 8, max: 64 })), "0"],
    ["and is its own remainder", mod(i, sizeSymbol("n", { min: 8, max: 64 })), "i"],
    ["an index that may reach an open size is divided", mod(i, n), "(i % $n)"],
  ];
  test.each(simplest)("%s", (_, expr, text) => {
    expect(printExpr(expr)).toBe(text);
  });
});

function rejoined(): Expr {
  const x = indexVar("x", 240);
  const outer = div(x, int(12));
  return add(add(mul(outer, int(12)), mul(mod(div(x, int(3)), int(4)), int(3))), mod(x, int(3)));
}

function shifted(): Expr {
  const x = add(indexVar("x", 100), int(5));
  return add(mul(div(x, int(17)), int(17)), mod(x, int(17)));
}

test("equal expressions have equal keys", () => {
  const make = () => add(mul(indexVar("i", 3), int(2)), int(1));
  expect(keyOf(make())).toBe(keyOf(make()));
});
