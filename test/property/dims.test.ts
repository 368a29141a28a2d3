/** Symbolic sizes: the laws of polynomials, one spelling for each, and agreement with numbers. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import {
  addDims,
  bindDim,
  boundsOf,
  type Dim,
  dimValue,
  divideDims,
  floorDivide,
  hostTensor,
  isMultipleOf,
  makeGraph,
  mulDims,
  ops,
  productOfDims,
  type SizeBounds,
  solveDim,
  subDims,
  symbol,
  termsOf,
} from "../../compiler/index.ts";
import * as h from "../../dsl/index.ts";

const sizes = { batch: 3, past: 7, tokens: 5 };
const { dim } = fc.letrec<{ dim: Dim }>((tie) => ({
  dim: fc.oneof(
    { maxDepth: 4 },
    fc.integer({ min: -9, max: 9 }),
    fc.constantFrom(...Object.keys(sizes)).map((name) => symbol(name)),
    fc.tuple(tie("dim"), tie("dim")).map(([a, b]) => addDims(a, b)),
    fc.tuple(tie("dim"), tie("dim")).map(([a, b]) => mulDims(a, b)),
  ),
}));
const value = (d: Dim) => dimValue(d, sizes);
/** Equal sizes are identical; 0 and -0 are the same size. */
const same = (a: Dim, b: Dim) => expect(a === b, `${a} and ${b}`).toBe(true);
const law = <T extends [unknown, ...unknown[]]>(...args: Parameters<typeof fc.property<T>>) =>
  fc.assert(fc.property<T>(...args), { numRuns: 200 });

describe("sizes", () => {
  it("add and multiply in any order and grouping, with one spelling for equal sizes", () => {
    law(dim, dim, dim, (a, b, c) => {
      same(addDims(a, b), addDims(b, a));
      same(mulDims(a, b), mulDims(b, a));
      same(addDims(addDims(a, b), c), addDims(a, addDims(b, c)));
      same(mulDims(mulDims(a, b), c), mulDims(a, mulDims(b, c)));
      same(mulDims(a, addDims(b, c)), addDims(mulDims(a, b), mulDims(a, c)));
    });
  });

  it("have 0 and 1 as neutral sizes, and differences that cancel", () => {
    law(dim, dim, (a, b) => {
      same(addDims(a, 0), a);
      same(mulDims(a, 1), a);
      same(mulDims(a, 0), 0);
      same(subDims(a, a), 0);
      same(subDims(addDims(a, b), b), a);
      same(productOfDims([a, b]), mulDims(a, b));
    });
  });

  it("agree with numbers once their symbols are bound", () => {
    law(dim, dim, (a, b) => {
      expect(value(addDims(a, b))).toBe(value(a) + value(b));
      expect(value(mulDims(a, b)) - value(a) * value(b)).toBe(0);
      expect(value(bindDim(a, { batch: 3 }))).toBe(value(a));
    });
  });

  it("are equal just where their texts are", () => {
    law(dim, dim, (a, b) => {
      expect(String(a) === String(b)).toBe(a === b);
    });
  });

  it("divide only where nothing is left over", () => {
    law(dim, dim, (a, b) => {
      const quotient = divideDims(a, b);
      if (quotient !== undefined) same(mulDims(quotient, b), a);
      if (b !== 0 && termsOf(a).length <= 16) same(divideDims(mulDims(a, b), b)!, a);
    });
    const [batch, tokens] = [symbol("batch"), symbol("tokens")];
    expect(String(divideDims(mulDims(batch, 12), 4))).toBe("3*batch");
    expect(divideDims(batch, 2)).toBeUndefined();
    expect(divideDims(mulDims(batch, tokens), tokens)).toBe(batch);
  });

  it("are rounded down where that is a polynomial", () => {
    law(dim, fc.integer({ min: 1, max: 4 }), fc.integer({ min: -9, max: 9 }), (a, n, more) => {
      const floor = floorDivide(addDims(mulDims(a, n), more), n)!;
      expect(value(floor)).toBe(Math.floor((value(a) * n + more) / n));
    });
    expect(floorDivide(symbol("batch"), 2)).toBeUndefined();
  });
});

const bounded = {
  batch: { max: 3 },
  past: { min: 2, max: 9, multipleOf: 2 },
  tokens: { multipleOf: 4 },
} as const satisfies Record<string, Partial<SizeBounds>>;

const { size } = fc.letrec<{ size: Dim }>((tie) => ({
  size: fc.oneof(
    { maxDepth: 4 },
    fc.integer({ min: -9, max: 9 }),
    fc.constantFrom(...Object.entries(bounded)).map(([name, bounds]) => symbol(name, bounds)),
    fc.tuple(tie("size"), tie("size")).map(([a, b]) => addDims(a, b)),
    fc.tuple(tie("size"), tie("size")).map(([a, b]) => mulDims(a, b)),
  ),
}));
const allowed = fc.record({
  batch: fc.integer({ min: 1, max: 3 }),
  past: fc.constantFrom(2, 4, 6, 8),
  tokens: fc.integer({ min: 1, max: 50 }).map((n) => 4 * n),
});

describe("bounds", () => {
  it("hold every value that a size can have, and so do the multiples", () => {
    law(size, allowed, fc.integer({ min: 1, max: 8 }), (d, sizes, n) => {
      const [value, { min, max }] = [dimValue(d, sizes), boundsOf(d)];
      expect(value).toBeGreaterThanOrEqual(min);
      expect(value).toBeLessThanOrEqual(max);
      if (isMultipleOf(d, n)) expect(Math.abs(value % n)).toBe(0);
    });
  });

  it("are exact for a product", () => {
    const [past, tokens] = [symbol("past", bounded.past), symbol("tokens", bounded.tokens)];
    expect(boundsOf(mulDims(past, -3))).toEqual({ min: -24, max: -6 });
    expect(boundsOf(addDims(mulDims(past, tokens), 1))).toEqual({ min: 9, max: Number.POSITIVE_INFINITY });
    expect(isMultipleOf(mulDims(past, tokens), 8)).toBe(true);
    expect(isMultipleOf(addDims(tokens, 2), 4)).toBe(false);
    expect(boundsOf(0)).toEqual({ min: 0, max: 0 });
    const [rows, columns] = ["rows", "columns"].map((name) => subDims(symbol(name, { min: 3 }), 2)) as [Dim, Dim];
    expect(boundsOf(mulDims(rows, columns))).toEqual({ min: 1, max: Number.POSITIVE_INFINITY });
  });

  it("are part of what a symbol is; the same numbers are the same symbol", () => {
    expect(symbol("n", { max: 8 })).not.toBe(symbol("n"));
    expect(symbol("n", { min: 1, multipleOf: 1 })).toBe(symbol("n"));
    expect(symbol("n", { min: 3, max: 9, multipleOf: 4 })).toBe(symbol("n", { min: 4, max: 8, multipleOf: 4 }));
    expect(String(symbol("n", { max: 8 }))).toBe("n");
  });

  it("are kept by what is bound", () => {
    const past = symbol("past", bounded.past);
    const bind = (value: number) => () => bindDim(addDims(past, 1), { past: value });
    expect(bind(4)()).toBe(5);
    expect(bind(10)).toThrow('the size "past" is 10, but it may be 2 to 8, in multiples of 2');
    expect(bind(3)).toThrow('the size "past" is 3, but it may be 2 to 8, in multiples of 2');
    expect(() => dimValue(symbol("n"), { n: 0 })).toThrow('the size "n" is 0, but it may be 1 or more');
  });

  it("are checked when a graph runs", async () => {
    const batch = h.axis("batch", h.symbol("batch", { max: 2 }));
    const x = h.input("x", "f32", [batch]);
    const run = async (rows: number) => {
      const backend = referenceBackend();
      const executable = await backend.compile(makeGraph("g", [{ name: "y", node: h.relu(x) }]));
      const axes = [{ name: "batch", size: rows }];
      return executable.run({ x: hostTensor("f32", axes, new Float32Array(rows)) }, backend.createStore());
    };
    expect((await run(2)).y!.data.length).toBe(2);
    await expect(run(3)).rejects.toThrow('the size "batch" is 3, but it may be 1 to 2');
  });

  it("that no number fits are refused", () => {
    expect(() => symbol("n", { min: 5, max: 4 })).toThrow('no number is within the bounds of the size "n": 5..4');
    expect(() => symbol("n", { min: 5, max: 7, multipleOf: 8 })).toThrow("5..7 multiple of 8");
    expect(() => symbol("n", { max: 2.5 })).toThrow("integers from 1");
  });

  it("that differ make two nodes, and no graph has both", () => {
    const input = (max: number) => ops.input("x", "f32", [{ name: "a", size: symbol("n", { max }) }]);
    expect(input(4)).toBe(input(4));
    expect(input(4)).not.toBe(input(5));
    const size = (max: number) => ops.sizeOf(symbol("n", { max }));
    expect(size(4)).not.toBe(size(5));
    expect(() => ops.add(input(4), input(5))).toThrow('axis "a" is n (1..4) in a and n (1..5) in b');
    expect(() => makeGraph("g", [{ name: "y", node: ops.mul(ops.relu(input(4)), size(5)) }])).toThrow(
      'two sizes are named "n", with different bounds: 1..4 and 1..5',
    );
  });
});

describe("the one symbol that a size leaves open", () => {
  const [n, m] = [symbol("n"), symbol("m")];
  it("is what makes the size its value", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9 }),
        fc.integer({ min: 0, max: 9 }),
        fc.integer({ min: 1, max: 99 }),
        (a, b, at) => {
          const size = addDims(mulDims(mulDims(n, m), a), addDims(n, b)); // a·m·n + n + b
          const found = solveDim(size, dimValue(size, { n: at, m: 3 }), { m: 3 });
          expect(found?.value).toBe(at);
          expect(found?.symbol.name).toBe("n");
        },
      ),
    );
  });

  it("is not found where none is open, several are, or one is multiplied by itself", () => {
    expect(solveDim(mulDims(n, 2), 6, { n: 3 })).toBeUndefined();
    expect(solveDim(addDims(n, m), 6, {})).toBeUndefined();
    expect(solveDim(mulDims(n, n), 9, {})).toBeUndefined();
    expect(solveDim(mulDims(n, 2), 5, {})?.value).toBe(2.5);
  });
});
