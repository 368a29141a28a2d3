/** Prints the names of all operators that the import has records for, one a line. */
import { records } from "../../../backends/onnx/import/ops/index.ts";

process.stdout.write(`${Object.keys(records).join("\n")}\n`);
