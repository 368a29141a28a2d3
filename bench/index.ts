/** Benchmarks: heddle side by side with other libraries, on the same device, after comparing outputs. */
import { main } from "./command.ts";
import { loadBench } from "./load.ts";
import { marksCommand } from "./marks/command.ts";
import { onnxBench } from "./onnx/command.ts";
import { pageBench } from "./page/command.ts";
import { planBench } from "./plan.ts";
import { randomBench } from "./random.ts";
import { ranksBench } from "./ranks.ts";
import { trainCpuBench } from "./train-cpu.ts";

/** Separate commands, which compare with no other library. */
const commands = new Map([
  ["load", loadBench],
  ["marks", marksCommand],
  ["onnx", onnxBench],
  ["page", pageBench],
  ["plan", planBench],
  ["random", randomBench],
  ["ranks", ranksBench],
  ["train-cpu", trainCpuBench],
]);

const argv = process.argv.slice(2);
const command = commands.get(argv[0] ?? "");
process.exitCode = command ? await command(argv.slice(1)) : await main(argv);
