/** Weights shared by mistake: the error names both lines that led to one parameter, unless sharing is asked for. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { callsOf, inputName, makeGraph, type Node } from "../../compiler/index.ts";
import { add, axis, defineModel, input, linear, type Params, rootParams, type Tensor, trace } from "../../dsl/index.ts";

const embed = axis("embed", 3);
const x = input("x", "f32", [embed]);

/** A layer of the user's own: the line in it is the same for each call. */
const layer = (p: Params, y: Tensor<"embed">): Tensor<"embed"> => add(y, linear(p.scope("fc"), y, [embed], [embed]));

/** What an error says, with each place of this file as the text of its line. */
function messageOf(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    const lines = readFileSync(fileURLToPath(import.meta.url), "utf8").split("\n");
    return String(error).replace(/test\/errors\/shared-weights.test.ts:(\d+):\d+/g, (_, n) => lines[n - 1]!.trim());
  }
  return "nothing was thrown";
}

it("names the two calls of a layer, not the line in the layer", () => {
  const build = () => {
    const p = rootParams().scope("block");
    const first = layer(p, x);
    return layer(p, first);
  };
  expect(messageOf(build)).toBe(`UsageError: the parameter "block.fc.weight" is declared twice:
  first  const first = layer(p, x);
  again  return layer(p, first);
Give each layer a scope of its own, as p.scope(i) in a loop; to share its weights on purpose, use p.shared()`);
});

it("says of a loop that its line led to both", () => {
  const build = () => {
    let y = x;
    const p = rootParams();
    for (let i = 0; i < 2; i++) y = layer(p.scope("block"), y);
    return y;
  };
  expect(messageOf(build)).toContain(`"block.fc.weight" is declared twice:
  both times  const layer = (p: Params, y: Tensor<"embed">): Tensor<"embed"> => add(y, linear(p.scope("fc"), y, [embed], [embed]));
  called from for (let i = 0; i < 2; i++) y = layer(p.scope("block"), y);`);
});

it("is found however the same path is spelled, and in a model that a command traces", () => {
  const model = defineModel({
    name: "twice",
    summary: "",
    config: {},
    build: (p) => ({ y: add(layer(p.scope("a.b"), x), layer(p.scope("a").scope("b"), x)) }),
  });
  expect(messageOf(() => trace(model))).toContain('"a.b.fc.weight" is declared twice');
});

it("lets weights be shared where that is asked for, and only there", () => {
  const p = rootParams();
  const tower = p.scope("tower");
  const names = (y: Node) =>
    makeGraph("g", [{ name: "y", node: y }])
      .inputs.map(inputName)
      .sort();
  const both = layer(tower.shared(), layer(tower, x));
  expect(names(both)).toEqual(["tower.fc.bias", "tower.fc.weight", "x"]);
  expect(names(layer(p.shared().scope("tower"), x))).toEqual(["tower.fc.bias", "tower.fc.weight", "x"]);
  expect(() => layer(tower, x)).toThrow('"tower.fc.weight" is declared twice');
});

it("starts anew with every model: another root has other parameters", () => {
  expect(() => [layer(rootParams(), x), layer(rootParams(), x)]).not.toThrow();
});

it("names the file of a module that was imported anew, without its query", () => {
  const at = { stack: "Error\n    at build (file:///models/mine.ts?edit=2:7:12)" };
  expect(callsOf({ stack: at as Error })).toEqual([{ file: "/models/mine.ts", line: 7, column: 12 }]);
});
