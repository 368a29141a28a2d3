/**
 * onnx's own tests of single operators, those included that are too large for the suite: `python
 * scripts/reference/onnx-nodes.py FOLDER 100000000`, then `node test/onnx/import/all-node-tests.ts FOLDER`.
 */
import { readNodeTests, runNodeTest } from "./node-tests.ts";

const [, , folder = ""] = process.argv;
const tests = readNodeTests(folder);
const differing: string[] = [];
for (const test of tests) {
  try {
    await runNodeTest(test);
  } catch (error) {
    differing.push(`${test.name}: ${(error as Error).message.split("\n")[0]}`);
  }
}
process.stdout.write(`${differing.join("\n")}\n${tests.length - differing.length} of ${tests.length} pass\n`);
