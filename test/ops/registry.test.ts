/** Every op record against its own reference; see support/record-checks.ts for the checks. */
import { expect, it } from "vitest";
import { opRecords, ops } from "../../compiler/index.ts";
import { derivativeSlack, describeRecords, directionalDerivative } from "../support/record-checks.ts";

describeRecords(opRecords());

it("the gradient check fails when a gradient is wrong by a thousandth", () => {
  const record = opRecords().find((r) => r.name === "mul")!;
  const { numeric, exact } = directionalDerivative(record, record.cases[0]!);
  expect(Math.abs(numeric - exact * 1.001)).toBeGreaterThan(derivativeSlack(exact));
});

it("every op with a float result has a gradient, a decomposition or is flat", () => {
  const without = opRecords().filter((r) => r.kind !== "source" && !r.gradient && !r.decompose && !r.flat);
  expect(without.map((r) => r.name)).toEqual([]);
});

it("argmax refuses bools, which a device cannot order", () => {
  const flags = ops.input("flags", "bool", [{ name: "a", size: 3 }]);
  expect(() => ops.argmax(flags, "a")).toThrow(/argmax C2.*bools have no order/s);
});
