import { expect, it } from "vitest";
import { collapseNames } from "../../runtime/index.ts";

const layers = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].flatMap((i) => [
  ...(i % 2 === 0 ? [`m.layers.${i}.cross.q.weight`, `m.layers.${i}.cross.k.weight`] : []),
  `m.layers.${i}.norm.weight`,
]);
const all = [...layers, "m.norm.weight", "head.weight", "head.bias", "scale"];

it.each([
  ["nothing", () => false, []],
  ["everything below a path, and a name by itself", (n: string) => /^head|^scale/.test(n), ["head.*", "scale"]],
  ["one of two", (n: string) => n === "head.bias", ["head.bias"]],
  ["layers, many of them shortened", (n: string) => n.includes("cross"), ["m.layers.{0,2,..,8}.cross.*"]],
  ["a part of each layer", (n: string) => /[024].cross.q/.test(n), ["m.layers.{0,2,4}.cross.q.weight"]],
  ["all", () => true, ["m.*", "head.*", "scale"]],
])("says in few words: %s", (_, chosen, patterns) => {
  expect(collapseNames(all.filter(chosen), all)).toEqual(patterns);
});
