/** Long lists of numbers in the text of a graph, which the lexer reads as one token. */
import { expect, it } from "vitest";
import { checkGraphText, parseGraph, printGraph } from "../../compiler/index.ts";
import { lex } from "../../compiler/ir/text/tokens.ts";

const values = Array.from({ length: 40 }, (_, i) => (i % 3 === 1 ? -i / 8 : i * 1e-7));
const listed = (separator: string, list: readonly number[] = values) => list.map(String).join(separator);
const table = (list: string, n = 40) =>
  `graph @g(%x: f32[a=${n}]) {\n  %0 = constant values ${list} : f32[a=${n}]\n  %1 = add %x, %0\n  return %1\n}\n`;
const messages = (text: string) => checkGraphText(text).mistakes.map(({ message }) => message);

it("are one token, and the same values as numbers read one by one", () => {
  const text = table(`[${listed(", ")}]`);
  expect(lex(text).tokens.length).toBeLessThan(60);
  const apart = table(`[${listed(",\n")}]`); // over several lines, where each number is a token
  expect(lex(apart).tokens.length).toBeGreaterThan(80);
  expect(printGraph(parseGraph(text))).toBe(printGraph(parseGraph(apart)));
  expect(parseGraph(text).outputs[0]!.node.operands[1]!.attrs.values).toEqual(values);
});

it("keep -0, exponents and blanks", () => {
  const { values: read } = parseGraph(table(`[ ${"-0 ,1e-3,\t2E2 , ".repeat(13)}7 ]`)).outputs[0]!.node.operands[1]!
    .attrs as { values: number[] };
  expect([Object.is(read[0], -0), read[1], read[2], read[39]]).toEqual([true, 1e-3, 200, 7]);
});

it("give the value of an iteration", () => {
  const text = `graph @g(%x: f32[a=2]) {
  repeat 40 as i with %y[-1] = %x {
    %y = mul %y[i-1], [${listed(
      ", ",
      values.map((_, i) => 1 + i / 64),
    )}][i]
  }
  return %y[39]
}`;
  const { node } = parseGraph(text).outputs[0]!;
  expect(node.operands[1]!.attrs.value).toBe(1 + 39 / 64);
  expect(messages(text.replace("repeat 40", "repeat 41").replace("%y[39]", "%y[40]"))).toEqual([
    "the list has 40 items, and item 40 is asked for",
  ]);
});

it("are not quoted in the messages about them", () => {
  const long = `[${"1, ".repeat(9_999)}1]`;
  expect(messages(`graph @g(%x: f32[a=2]) {\n  ${long}\n  return %x\n}`)).toEqual([
    'a line begins with %value =, repeat, return or a closing bracket, not with "["',
  ]);
  expect(messages(`graph @g(%x: f32[a=2]) {\n  %0 = relu %x over ${long}\n  return %0\n}`)).toEqual([
    'relu has no attribute "over"; it has none',
  ]);
  expect(messages(`graph @g(%x: f32[a=2]) {\n  %0 ${long}\n  return %0\n}`)[0]).toMatch(
    /is expected, but there is "\["$/,
  );
  expect(messages(table(long))).toEqual([expect.stringContaining("10000")]);
});
