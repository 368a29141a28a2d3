/** ONNX's own tests of single operators: imported, and computed in float64 as the standard has it. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { records } from "../../../backends/onnx/import/index.ts";
import { HeddleError } from "../../../compiler/index.ts";
import { readNodeTests, runNodeTest } from "./node-tests.ts";

const tests = readNodeTests(fileURLToPath(new URL("nodes", import.meta.url)));

/** How many pass; docs/onnx-import.md and the README say so. */
const passingTests = 1306;

/** Why some are refused. */
const refusals = [
  /empty tensors are (not supported|supported only)/,
  /the model has opset 1; supported are 7/,
  /dropout in training mode is not supported/,
  /Scan of opset 8, which has a batch, is not supported/,
];

/** Those that differ, and why. */
const others: Readonly<Record<string, string>> = {
  dynamicquantizelinear: "a value lies between two integers, and float64 rounds it to the other one",
  dynamicquantizelinear_expanded: "as dynamicquantizelinear",
  mod_float_edge_cases_fmod_0_float16: "the remainder by an infinity is computed by dividing",
  mod_float_edge_cases_fmod_0_float32: "as in float16",
  mod_float_edge_cases_fmod_0_float64: "as in float16",
  reduce_max_empty_set_bool: "the largest of no truth values",
};

it("are of the operators that the page for users lists", () => {
  const page = readFileSync(new URL("../../../docs/onnx-import.md", import.meta.url), "utf8");
  const listed = (after: string, prefix: string) =>
    page
      .split(`${after}:\n\n`)[1]!
      .split(".\n")[0]!
      .split(/,\s/)
      .map((name) => prefix + name);
  const all = [...listed("Of ONNX", ""), ...listed("Of onnxruntime (`com.microsoft`)", "com.microsoft.")];
  expect(all.sort()).toEqual(Object.keys(records).sort());
  expect(page).toContain(`${passingTests} of onnx's own`);
});

it("imports and computes the tests of onnx that are of its operators", async () => {
  const differing: string[] = [];
  let passing = 0;
  for (const test of tests) {
    try {
      await runNodeTest(test);
      passing += 1;
    } catch (error) {
      const { message } = error as Error;
      if (!(error instanceof HeddleError && refusals.some((r) => r.test(message))))
        differing.push(`${test.name}: ${message}`);
    }
  }
  process.stdout.write(`${passing} of ${tests.length} node tests of onnx\n`);
  expect(differing.filter((d) => !Object.hasOwn(others, d.split(":")[0]!))).toEqual([]);
  expect(differing.map((d) => d.split(":")[0]).sort()).toEqual(Object.keys(others).sort());
  expect(passing).toBe(passingTests);
}, 60_000);
