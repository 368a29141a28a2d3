/** The bench owns measuring: heddle side by side with other libraries, on one device, in one run, the same outputs first. */
import { main } from "./command.ts";
import { loadBench } from "./load.ts";
import { marksCommand } from "./marks/command.ts";
import { onnxBench } from "./onnx/command.ts";
import { planBench } from "./plan.ts";
import { randomBench } from "./random.ts";
import { trainCpuBench } from "./train-cpu.ts";

/** Commands of their own: what they measure is compared with no other library. */
const commands = new Map([
  ["load", loadBench],
  ["marks", marksCommand],
  ["onnx", onnxBench],
  ["plan", planBench],
  ["random", randomBench],
  ["train-cpu", trainCpuBench],
]);

const argv = process.argv.slice(2);
const command = commands.get(argv[0] ?? "");
process.exitCode = command ? await command(argv.slice(1)) : await main(argv);
