/** The worked example of docs/adding-an-op.md: one record in one file, and everything else follows. */
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { differentiate, opRecord, ops } from "../../compiler/index.ts";
import { mish } from "../../examples/ops/mish.ts";
import { describeRecords } from "../support/record-checks.ts";

describeRecords([mish.record]);

it("the document shows the file as it is", () => {
  const document = readFileSync("docs/adding-an-op.md", "utf8");
  expect(document).toContain(readFileSync("examples/ops/mish.ts", "utf8").trim());
});

it("is known by name and can be trained through", () => {
  expect(opRecord("mish").kind).toBe("elementwise");
  const x = ops.input("x", "f32", [{ name: "a", size: 3 }]);
  const [gradient] = differentiate(ops.reduceSum(mish(x), ["a"]), [x]);
  expect(gradient!.type.axes).toEqual([{ name: "a", size: 3 }]);
});
