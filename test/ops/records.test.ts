/** What records say must hold together: roles name operands, folds are folds, kinds have what their kind needs. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { opRecords, type RefTensor, tensorType } from "../../compiler/index.ts";
import { foldsParts } from "../../compiler/ir/algebra.ts";
import { scalarNumbers } from "../../compiler/ops/reduction-kind.ts";

const records = opRecords();
const plain = (name: string) => name.replace(/[?.]+$/, "");

describe("a record", () => {
  it("gives roles to operands that it has", () => {
    const wrong = records.flatMap((r) =>
      Object.keys(r.roles ?? {}).filter((name) => !r.operands.map(plain).includes(name)),
    );
    expect(wrong).toEqual([]);
  });

  it("has what its kind needs", () => {
    for (const r of records) {
      expect([r.name, r.source !== undefined]).toEqual([r.name, r.kind === "source"]);
      expect([r.name, r.indexMap !== undefined]).toEqual([r.name, r.kind === "movement"]);
      if (r.kind === "reduction") expect([r.name, r.core?.kind]).toEqual([r.name, "row_reduction"]);
      if (r.kind === "contraction") expect([r.name, r.core?.kind]).toEqual([r.name, "contraction"]);
    }
  });

  it("that grows with an operand, or shrinks, always does", () => {
    const monotone = records.filter((r) => r.grows);
    expect(monotone.length).toBeGreaterThan(5);
    for (const r of monotone) {
      const isBool = r.cases.every((c) => c.operands.every((o) => o.dtype === "bool"));
      const numbers = isBool ? fc.integer({ min: 0, max: 1 }) : fc.integer({ min: -9, max: 9 });
      const operands = fc.tuple(...r.operands.map(() => numbers));
      fc.assert(
        fc.property(operands, operands, (a, b) => {
          // From one end of both to the other: each operand moves the way in which it raises the result.
          const [low, high] = [Math.min, Math.max].map((f, i) =>
            a.map((x, j) => (r.grows![j] === 1 ? f(x, b[j]!) : [Math.max, Math.min][i]!(x, b[j]!))),
          );
          expect([r.name, r.scalar!(...low!) <= r.scalar!(...high!)]).toEqual([r.name, true]);
        }),
      );
    }
  });

  it("that is commutative means the same with its operands in the other order", () => {
    const commutative = records.filter((r) => r.commutative);
    expect(commutative.length).toBeGreaterThan(5);
    for (const r of commutative) {
      for (const [a, b] of [
        [0, 1],
        [1, 0],
        [2, -3],
        [1, 1],
      ] as const) {
        expect([r.name, r.scalar!(a, b)]).toEqual([r.name, r.scalar!(b, a)]);
      }
    }
  });

  it("that is not marked as commutative is not", () => {
    const symmetric = records.filter(
      (r) =>
        r.kind === "elementwise" &&
        r.operands.length === 2 &&
        !r.commutative &&
        [
          [2, 3],
          [3, 1],
          [1, 4],
        ].every(([a, b]) => Object.is(r.scalar!(a!, b!), r.scalar!(b!, a!))),
    );
    expect(symmetric.map((r) => r.name)).toEqual([]);
  });
});

const folds = records.flatMap((r) => (r.core && "fold" in r.core ? [{ name: r.name, r, fold: r.core.fold }] : []));
const value = fc.integer({ min: -3, max: 3 });

describe.each(folds)("the fold of $name", ({ r, fold }) => {
  const operands = r.operands.length;
  const element = (position: number) =>
    fc.array(value, { minLength: operands, maxLength: operands }).map((v) => {
      return fold.lift?.(scalarNumbers, v, position) ?? v;
    });

  it("is of as many accumulators as it says", () => {
    const [lifted] = fc.sample(element(0), { numRuns: 1, seed: 1 });
    expect(lifted).toHaveLength(fold.accumulators.length);
  });

  it("merges in any order", () => {
    const property = fc.property(element(0), element(1), element(2), (a, b, c) => {
      const merge = (x: readonly number[], y: readonly number[]) => fold.merge(scalarNumbers, x, y);
      expect(merge(b, a)).toEqual(merge(a, b));
      expect(merge(merge(a, b), c)).toEqual(merge(a, merge(b, c)));
    });
    fc.assert(property, { numRuns: 200, seed: 7 });
  });

  it("begins with what changes nothing", () => {
    const ends = { lowest: Number.NEGATIVE_INFINITY, highest: Number.POSITIVE_INFINITY };
    const start = fold.accumulators.map(({ start: s }) => (typeof s === "number" ? s : ends[s]));
    const property = fc.property(element(3), (a) => {
      expect(fold.merge(scalarNumbers, start, a).map((v) => v + 0)).toEqual(a.map((v) => v + 0));
    });
    fc.assert(property, { numRuns: 50, seed: 7 });
  });
});

describe.each(folds.filter(({ r }) => r.kind === "reduction"))("$name", ({ r, fold }) => {
  const run = (values: readonly number[], sizes: Readonly<Record<string, number>>, over: readonly string[]) => {
    const type = tensorType(
      "f32",
      Object.entries(sizes).map(([name, size]) => ({ name, size })),
    );
    const x: RefTensor = { type, data: Float64Array.from(values) };
    return [...r.reference([x], { over }, r.infer([type], { over }))];
  };

  it("of a row repeated is what its record says", () => {
    const row = [2, -1, 3];
    const [once] = run(row, { a: 3 }, ["a"]);
    const [often] = run([...row, ...row, ...row, ...row], { n: 4, a: 3 }, ["n", "a"]);
    const said = fold.repeated === "same" ? once! : fold.repeated === "times" ? 4 * once! : undefined;
    if (said === undefined) expect([once, 4 * once!]).not.toContain(often);
    else expect(often).toBe(said);
  });

  it.runIf(foldsParts(fold))("of its own parts is that of the whole", () => {
    const values = [2, -1, 3, 0.5, 1, -2];
    const [whole] = run(values, { a: 2, b: 3 }, ["a", "b"]);
    expect(run(run(values, { a: 2, b: 3 }, ["b"]), { a: 2 }, ["a"])).toEqual([whole]);
  });
});
