import { expect, it } from "vitest";
import { movedBy } from "../../playground/shell/list-keys.ts";

it("moves within a list and stops at its ends", () => {
  const from =
    (at: number, count = 50) =>
    (key: string) =>
      movedBy(key, at, count);
  expect(["ArrowUp", "ArrowDown", "Home", "End", "PageUp", "PageDown"].map(from(10))).toEqual([9, 11, 0, 49, 0, 30]);
  expect(["ArrowUp", "PageUp"].map(from(0))).toEqual([0, 0]);
  expect(["ArrowDown", "PageDown"].map(from(49))).toEqual([49, 49]);
  expect(from(-1)("ArrowDown")).toBe(0); // nothing was chosen yet
  expect(["Enter", "a", "toString"].map(from(3))).toEqual([undefined, undefined, undefined]);
  expect(from(0, 0)("End")).toBeUndefined();
});
