import { describe, expect, it } from "vitest";
import { FileError } from "../../compiler/index.ts";
import { describeMatch, matchTensors, type NamedShape, requireMatch } from "../../runtime/index.ts";

const found = (...tensors: NamedShape[]) => ({ tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) });
const shaped = (name: string, ...shape: number[]): NamedShape => ({ name, shape });

describe("matchTensors", () => {
  const expected = [shaped("norm.weight", 8), shaped("head.weight", 4, 8), shaped("head.bias", 4), shaped("scale")];
  const file = found(shaped("norm.wieght", 8), shaped("head.weight", 8, 4), shaped("extra", 2), shaped("scale"));
  const match = matchTensors(expected, file);

  it("tells every difference as data", () => {
    expect(match).toEqual({
      matched: [{ expected: expected[3], found: shaped("scale") }],
      missing: [expected[0], expected[2]],
      unexpected: [shaped("norm.wieght", 8), shaped("extra", 2)],
      misshaped: [{ expected: expected[1], found: shaped("head.weight", 8, 4) }],
    });
  });

  it("tells every difference as one text", () => {
    expect(describeMatch(match)).toMatchInlineSnapshot(`
      "1 tensors match, 2 missing, 1 with another shape, 2 unexpected
        missing:
          "norm.weight" [8], nearest: "norm.wieght"
          "head.bias" [4]
        with another shape:
          "head.weight" [4, 8] is [8, 4]
        unexpected:
          "norm.wieght" [8]
          "extra" [2]"
    `);
  });

  it("is an error by the rules given", () => {
    expect(() => requireMatch("model", match)).toThrow(FileError);
    expect(() => requireMatch("model", match, { allowMissing: true, allowUnexpected: true })).toThrow(/another shape/);
    const partial = matchTensors([shaped("scale"), shaped("other")], found(shaped("scale"), shaped("extra")));
    expect(() => requireMatch("model", partial, { allowMissing: true })).toThrow(/^model: 1 tensors match, 1 missing/);
    expect(() => requireMatch("model", partial, { allowUnexpected: true })).toThrow(FileError);
    requireMatch("model", partial, { allowMissing: true, allowUnexpected: true });
    requireMatch("model", matchTensors([shaped("scale")], found(shaped("scale"))));
  });

  it("sees a prefix that all names have, or lack", () => {
    const plain = ["a.weight", "b.weight", "c.weight"].map((name) => shaped(name, 1));
    const prefixed = plain.map(({ name, shape }) => ({ name: `vision_model.${name}`, shape }));
    expect(describeMatch(matchTensors(plain, found(...prefixed)))).toMatch(
      /hint: 3 of the missing names exist with the prefix "vision_model\."$/,
    );
    expect(describeMatch(matchTensors(prefixed, found(...plain)))).toMatch(
      /hint: 3 of the missing names exist without the prefix "vision_model\."$/,
    );
  });

  it("stays short and quick for thousands of names", () => {
    const many = (prefix: string) => Array.from({ length: 20_000 }, (_, i) => shaped(`${prefix}.layer${i}.weight`, 4));
    const text = describeMatch(matchTensors(many("a"), found(...many("b"))));
    expect(text.split("\n").length).toBeLessThan(30);
    expect(text).toContain("and 19990 more");
  });

  it("is safe for names that objects inherit", () => {
    const names = ["__proto__", "constructor"].map((name) => shaped(name, 1));
    expect(matchTensors(names, found()).missing).toEqual(names);
    expect(matchTensors(names, found(...names)).matched).toHaveLength(2);
  });
});
