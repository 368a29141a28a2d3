/** Commands that analyse a model: inspect, tune. */
import { type Command, Option } from "commander";
import { adapterNames, anyGpu } from "../adapters.ts";
import { checkTypesFlag } from "../check-types.ts";
import { type Done, graphOption, jsonOption, memoryOption, setOption, sizeOption } from "./shared.ts";
import { collect, duration, positiveNumber, wholeNumber } from "./values.ts";

/** Adds them to a program; `done` gets the exit status. */
export function modelsCommands(program: Command, done: Done): void {
  declareInspect(program, done);
  declareTune(program, done);
}

function declareInspect(program: Command, done: Done): void {
  program
    .command("inspect <model|job.ts>")
    .description("show the structure, cost and kernels of a model or a training step")
    .option(...checkTypesFlag)
    .option(...setOption)
    .option(...graphOption)
    .option("--batch <n>", "value of symbolic sizes; default 1, for a job its own", wholeNumber)
    .option(...sizeOption)
    .option("--text", "print the graph", false)
    .option(
      "--target <target>",
      "pipeline that --pass, --html and the switches show: webgpu, onnx or reference",
      "webgpu",
    )
    .option("--dtype <dtype>", "compute in f32 or f16, or keep weights as int8 or int4", "f32")
    .option("--pass <name>", "print the input and output of a stage of the target's pipeline")
    .option(
      "--kernels [pattern]",
      "list the kernels whose names match, with their schedules and why others were rejected",
    )
    .option("--adapter <name>", `adapter that kernels are compiled for: ${adapterNames.join(", ")}`, anyGpu)
    .option("--fixed", "with --kernels: compile for these sizes only", false)
    .option("--measure", "with --kernels: time them on this machine's GPU, and compare with its peak rates", false)
    .option("--html <file>", "write a page to step through the stages")
    .option("--stage <n>", "inspect the training step of this stage of a model or job")
    .option(...memoryOption)
    .option(
      "--sweep <key=a,b,c>",
      "compare vision encoder shapes: depth, headDim, mlpRatio; may be repeated",
      collect,
      [],
    )
    .option("--budget <n>", "with --sweep: number of parameters of every shape", positiveNumber)
    .option("--device <device>", "with --sweep: also measure one block on this device")
    .option(...jsonOption)
    .action(async (model, options) => {
      const { inspectCommand } = await import("../commands/inspect/command.ts");
      done(await inspectCommand(model, options));
    });
}

function declareTune(program: Command, done: Done): void {
  program
    .command("tune <model>")
    .description("autotune a model's kernels on the GPU, and keep the results for later runs")
    .option(...checkTypesFlag)
    .option(...setOption)
    .option(...graphOption)
    .option("--stage <n>", "tune the training step of this stage")
    .option("--batch <n>", "value of symbolic sizes", wholeNumber, 1)
    .option(...sizeOption)
    .addOption(new Option("--dtype <dtype>", "dtype of computation and weights").choices(["f32", "f16"]).default("f32"))
    .option("--fixed", "tune for these sizes only, as heddle run --fixed compiles", false)
    .addOption(new Option("--budget <time>", "time budget, as in 90s or 5m").argParser(duration).default(60_000, "60s"))
    .option(...jsonOption)
    .action(async (model, options) => {
      const { tuneCommand } = await import("../commands/tune.ts");
      done(await tuneCommand(model, options));
    });
}
