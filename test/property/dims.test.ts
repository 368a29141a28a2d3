/** Symbolic sizes: the laws of polynomials, one spelling for each, and agreement with numbers. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  addDims,
  bindDim,
  type Dim,
  dimValue,
  divideDims,
  mulDims,
  parseDim,
  productOfDims,
  subDims,
  symbol,
  symbolsOf,
} from "../../compiler/index.ts";

const sizes = { batch: 3, past: 7, tokens: 5 };
const { dim } = fc.letrec<{ dim: Dim }>((tie) => ({
  dim: fc.oneof(
    { maxDepth: 4 },
    fc.integer({ min: -9, max: 9 }),
    fc.constantFrom(...Object.keys(sizes)).map(symbol),
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

  it("read back from their text", () => {
    law(dim, (a) => {
      expect(parseDim(String(a)) === a).toBe(true);
      expect(symbolsOf(a)).toEqual([...symbolsOf(a)].sort());
    });
  });

  it("divide only where nothing is left over", () => {
    law(dim, dim, (a, b) => {
      const quotient = divideDims(a, b);
      if (quotient !== undefined) same(mulDims(quotient, b), a);
    });
    expect(divideDims(mulDims("batch", 12), 4)).toBe("3*batch");
    expect(divideDims("batch", 2)).toBeUndefined();
    expect(divideDims(mulDims("batch", "tokens"), "tokens")).toBe("batch");
  });
});
