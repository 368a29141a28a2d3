/** The command line: parses arguments and calls commands, each loaded on demand. */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { Command, CommanderError, Option } from "commander";
import { heddleVersion } from "../api/node-index.ts";
import type { Activations, Dialect } from "../backends/onnx/index.ts";
import { precisions, setSourceReader, switchHelp } from "../compiler/index.ts";
import type { OpenTrace } from "../runtime/node-index.ts";
import { adapterNames, anyGpu } from "./adapters.ts";
import { checkTypes, checkTypesFlag } from "./check-types.ts";
import { dataCommands } from "./data-commands.ts";
import { faultText } from "./fault-text.ts";
import { helpStyle } from "./help.ts";
import { leaveNoTemporaries } from "./interruption.ts";
import { collect, duration, memoryBudget, positiveNumber, seed, share, wholeNumber } from "./option-values.ts";
import { readableFault } from "./readable-fault.ts";
import { shardOption, shardSize } from "./shard-options.ts";

const framesKept = 64;

/** Commands too short to profit from a larger young generation: a second's work leaves 100 MB of garbage. */
const brief: readonly string[] = ["inspect"];

/** Commands that ranks run together. */
const ofRanks: readonly string[] = ["train", "devices"];

/** Runs one command and returns the exit status: 0, 1 for a user's mistake, 2 for an internal error. */
export async function main(argv: readonly string[]): Promise<number> {
  setSourceReader(readSource);
  Error.stackTraceLimit = Math.max(Error.stackTraceLimit, framesKept); // the user's frame may be below many of ours
  let status = 0;
  let trace: OpenTrace | undefined;
  const tidy = leaveNoTemporaries();
  const usage: string[] = [];
  const program = commands((code) => {
    status = code;
  }, usage).hook("preAction", async (command, chosen) => {
    if (!brief.includes(chosen.name())) setFlagsFromString("--semi-space-growth-factor=2"); // V8's default
    const { trace: file } = command.opts<{ readonly trace?: string }>();
    if (file !== undefined) trace ??= await openTrace(file);
    if (chosen.opts<{ readonly checkTypes?: boolean }>().checkTypes) await checkTypes(chosen.args[0]!);
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return status;
  } catch (error) {
    if (ofRanks.some((name) => argv.includes(name)) && !(await isReportedHere())) return 1;
    process.stderr.write(usage.join(""));
    return report(error);
  } finally {
    trace?.dispose();
    tidy.dispose();
  }
}

/** Whether an error is this process's to report: ranks of one launch usually have the same one. */
async function isReportedHere(): Promise<boolean> {
  const { isToReport, launchOf } = await import("../runtime/node-index.ts");
  const launch = launchOf(process.env);
  return !launch || (await isToReport(launch));
}

/** Each rank writes its own file: all but the first add their number to the name. */
async function openTrace(file: string): Promise<OpenTrace> {
  const { launchOf, openTrace: open } = await import("../runtime/node-index.ts");
  const rank = launchOf(process.env)?.rank ?? 0;
  return open(rank === 0 ? file : `${file}.rank-${rank}`);
}

/** The ONNX dialects, named here so that only the command export loads the exporter. */
const dialects = Object.keys({ standard: true, onnxruntime: true } satisfies Record<Dialect, true>);
const activationTypes = Object.keys({ float: true, int8: true } satisfies Record<Activations, true>);

/** What is wrong with arguments is added to `usage`. */
function commands(done: (status: number) => void, usage: string[]): Command {
  const program = new Command("heddle")
    .configureOutput({ writeErr: (text) => void usage.push(text) })
    .configureHelp(helpStyle)
    .description("Declare vision-language models in TypeScript; train them, compile them to WebGPU and ONNX.")
    .version(heddleVersion())
    .exitOverride()
    .option("--trace <file>", "write a timeline of the command, for ui.perfetto.dev")
    .addHelpText("after", environmentHelp);
  const set = [
    "--set <key=value>",
    "change a setting, or choose a named configuration; may be repeated",
    collect,
    [] as string[],
  ] as const;
  const graph = ["--graph <name>", "another graph of the model, such as decode; heddle inspect lists them"] as const;
  const size = ["--size <name=n>", "value of one symbolic size; may be repeated", collect, [] as string[]] as const;
  const memory = [
    "--memory <budget>",
    "memory budget on WebGPU, as in 24GiB, or 0.8 for a fraction of the device's; activations are recomputed to fit",
    memoryBudget,
  ] as const;
  program
    .command("init [folder]")
    .description("create a project: a model, a job that trains it, and scripts to check, train and export it")
    .option("--json", "print JSON", false)
    .action(async (folder = ".", options) => {
      const { initCommand } = await import("./commands/init.ts");
      done(await initCommand(folder, options));
    });
  program
    .command("inspect <model|job.ts>")
    .description("show the structure, cost and kernels of a model or a training step")
    .option(...checkTypesFlag)
    .option(...set)
    .option(...graph)
    .option("--batch <n>", "value of symbolic sizes; default 1, for a job its own", wholeNumber)
    .option(...size)
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
    .option(...memory)
    .option(
      "--sweep <key=a,b,c>",
      "compare vision encoder shapes: depth, headDim, mlpRatio; may be repeated",
      collect,
      [],
    )
    .option("--budget <n>", "with --sweep: number of parameters of every shape", positiveNumber)
    .option("--device <device>", "with --sweep: also measure one block on this device")
    .option("--json", "print JSON", false)
    .action(async (model, options) => {
      const { inspectCommand } = await import("./commands/inspect/command.ts");
      done(await inspectCommand(model, options));
    });
  program
    .command("train <job>")
    .description("run a training job: a file that exports one, or with --stage a stage of a model")
    .option(...checkTypesFlag)
    .option("--stage <n>", "a stage of a model, or several in a row: 1.1,1.2; heddle inspect shows what it trains")
    .option(
      "--data <spec>",
      "training data: shards, a folder or a list, with a weight as in 2*'shards/{000..099}.tar'; may be repeated",
      collect,
      [],
    )
    .option("--filter <rule>", "use only samples that match, as in 'caption.words>=3'; may be repeated", collect, [])
    .option("--validate <spec>", "validation data, in the syntax of --data; may be repeated", collect, [])
    .option("--tokenizer <path>", 'a tokenizer.json or its folder, or "bytes"; default the one beside --from')
    .option("--device <device>", "auto, webgpu or cpu", "auto")
    .option("--from <path>", "run, checkpoint or folder to start from; may be repeated, the first wins", collect, [])
    .addOption(
      new Option(
        "--precision <precision>",
        "compute precision, for a job with this setting; parameters are f32",
      ).choices([...precisions]),
    )
    .option("--resume", "resume the newest run from its newest checkpoint", false)
    .option("--changed-data", "with --resume: accept that data files changed, from the next epoch on", false)
    .option("--runs <folder>", "where run folders are created", "runs")
    .option("--no-tuning", "ignore the results of heddle tune")
    .addOption(shardOption())
    .option("--share-devices", "let several ranks share a GPU if the machine has too few", false)
    .option(...memory)
    .option(...set)
    .option("--json", "print the summary on stdout", false)
    .action(async (job, options) => {
      const { trainCommand } = await import("./commands/train.ts");
      done(await trainCommand(job, options));
    });
  program
    .command("plan <model|job.ts>")
    .description("estimate what a training stage takes on given hardware: memory, largest batch, operations, time")
    .requiredOption(
      "--hardware <text>",
      'as in H200, "8×A100-80G" or "640×A100-80G,IB-200G"; "here" is this machine\'s device',
    )
    .option(...checkTypesFlag)
    .option("--stage <n>", "the stage of the model, or one that follows in a job")
    .option(...set)
    .option(...size)
    .addOption(new Option("--precision <precision>", "compute precision").choices([...precisions]))
    .option(...memory)
    .option("--batch <n>", "samples per device at once; default the largest batch that fits", wholeNumber)
    .addOption(shardOption())
    .option("--efficiency <share>", "fraction of the roofline that kernels reach, up to 1", share, 1)
    .option("--measure", "with --hardware here: time each distinct kernel instead of using the roofline", false)
    .option("--json", "print JSON", false)
    .action(async (source, options) => {
      const { planCommand } = await import("./commands/plan.ts");
      done(await planCommand(source, options));
    });
  program
    .command("report <folder>")
    .description("write a run's report.html again from the files in its folder")
    .option("--json", "print JSON", false)
    .action(async (folder, options) => {
      const { reportCommand } = await import("./commands/report.ts");
      done(await reportCommand(folder, options));
    });
  program
    .command("tune <model>")
    .description("autotune a model's kernels on the GPU, and keep the results for later runs")
    .option(...checkTypesFlag)
    .option(...set)
    .option(...graph)
    .option("--stage <n>", "tune the training step of this stage")
    .option("--batch <n>", "value of symbolic sizes", wholeNumber, 1)
    .option(...size)
    .addOption(new Option("--dtype <dtype>", "dtype of computation and weights").choices(["f32", "f16"]).default("f32"))
    .option("--fixed", "tune for these sizes only, as heddle run --fixed compiles", false)
    .addOption(new Option("--budget <time>", "time budget, as in 90s or 5m").argParser(duration).default(60_000, "60s"))
    .option("--json", "print JSON", false)
    .action(async (model, options) => {
      const { tuneCommand } = await import("./commands/tune.ts");
      done(await tuneCommand(model, options));
    });
  program
    .command("compile <model>")
    .description("write a WebGPU bundle for web pages, or an ONNX file")
    .option(...checkTypesFlag)
    .requiredOption("--target <target>", "webgpu or onnx")
    .requiredOption("--out <path>", "folder of the bundle, or the ONNX file")
    .option("--weights <path>", "safetensors file, index or folder; default random values")
    .option(...set)
    .option(...graph)
    .option("--dtype <dtype>", "weights in f32 or f16; for an ONNX file as in heddle export", "f32")
    .addOption(
      new Option("--precision <precision>", "compute precision of a bundle; f16 needs a device with the feature")
        .choices([...precisions])
        .default("f32"),
    )
    .option("--adapter <name>", `adapter that a bundle is compiled for: ${adapterNames.join(", ")}`, anyGpu)
    .option("--batch <n>", "value of symbolic sizes in a bundle", wholeNumber, 1)
    .option(...size)
    .option("--seed <n>", "seed of random values", seed, 0)
    .option("--json", "print JSON", false)
    .action(async (model, options) => {
      const { compileCommand } = await import("./commands/compile.ts");
      done(await compileCommand(model, options));
    });
  program
    .command("export <model>")
    .description("write an ONNX file; --verify compares it with heddle's own execution")
    .option(...checkTypesFlag)
    .requiredOption("--out <file.onnx>", "where to write")
    .option("--weights <path>", "safetensors file, index or folder; default random values")
    .option(...set)
    .option(...graph)
    .option("--dtype <dtype>", "f32, f16, int8 or int4", "f32")
    .addOption(
      new Option("--dialect <dialect>", "onnxruntime: also use its contrib operators, which load and run faster")
        .choices(dialects)
        .default("standard"),
    )
    .addOption(
      new Option(
        "--activations <type>",
        "int8, with --dtype int8: quantize activations dynamically, and multiply integers",
      )
        .choices(activationTypes)
        .default("float"),
    )
    .option("--ids <type>", "int64 or int32 for integer inputs; default int64 for graphs with a key-value cache")
    .option("--opset <n>", "17 to the newest that onnxruntime runs; default 20", wholeNumber)
    .option("--outputs <names...>", "only these outputs and what they need")
    .option("--seed <n>", "seed of random values", seed, 0)
    .option("--verify", "run the file in onnxruntime and compare", false)
    .option("--json", "print JSON", false)
    .action(async (model, options) => {
      const { exportCommand } = await import("./commands/export.ts");
      done(await exportCommand(model, options));
    });
  program
    .command("import <file.onnx>")
    .description("read an ONNX file into a graph and weights that the other commands take")
    .requiredOption("--out <folder>", "where to write model.graph and model.safetensors")
    .option(
      "--size <name=n>",
      "value of a symbolic size of the file: a number, or what it equals, as in 32*rows; may be repeated",
      collect,
      [] as string[],
    )
    .option("--outputs <names...>", "only these values, outputs of any nodes, and what they need")
    .option("--json", "print JSON", false)
    .action(async (file, options) => {
      const { importCommand } = await import("./commands/import.ts");
      done(await importCommand(file, options));
    });
  program
    .command("convert <model>")
    .description("write weights in the published layout, which Python's transformers reads")
    .option(...checkTypesFlag)
    .option("--weights <path>", "safetensors file, index or folder in any layout, or random; default a folder's own")
    .requiredOption("--out <folder>", "a new folder")
    .option("--dtype <dtype>", "f32, f16 or bf16; default as each tensor is stored")
    .addOption(shardSize("a file", 5))
    .option(...set)
    .option("--seed <n>", "seed of random values", seed, 0)
    .option("--json", "print JSON", false)
    .action(async (model, options) => {
      const { convertCommand } = await import("./commands/convert.ts");
      done(await convertCommand(model, options));
    });
  program
    .command("models")
    .description("list the bundled models: sizes, papers, stages, modes of heddle run")
    .option("--json", "print JSON", false)
    .action(async (options) => {
      const { modelsCommand } = await import("./commands/models.ts");
      done(modelsCommand(options));
    });
  program
    .command("devices")
    .description("list the devices of this machine, and the one that auto chooses")
    .option("--measure", "also measure the GPU's peak rates: copies, products, dispatches", false)
    .option("--json", "print JSON", false)
    .action(async (options) => {
      const { devicesCommand } = await import("./commands/devices.ts");
      done(await devicesCommand(options));
    });
  program
    .command("run [arguments...]")
    .description("run a model: features, classify, segment, retrieve, caption, chat, generate")
    .allowUnknownOption()
    .helpOption(false)
    .action(async (given) => {
      const { runCommand } = await import("./commands/run/command.ts");
      done(await runCommand(given));
    });
  program
    .command("evaluate [arguments...]")
    .description("evaluate a model on your own data with a published protocol")
    .allowUnknownOption()
    .helpOption(false)
    .action(async (given) => {
      const { evaluateCommand } = await import("./commands/evaluate/command.ts");
      done(await evaluateCommand(given));
    });
  dataCommands(program, done);
  for (const command of program.commands) command.exitOverride();
  return program;
}

const environmentHelp = `
Environment:
${switchHelp.map((s) => `  ${s.example.padEnd(44)} ${s.help}`).join("\n")}
  HEDDLE_ADAPTER=system|swiftshader|lavapipe   the WebGPU adapter to use
  HEDDLE_TUNING=off                            ignore the results of heddle tune
  HEDDLE_CACHE=<folder>                        where heddle tune keeps its results
  HEDDLE_MPI=<file>                            the MPI library for heddle train on several devices`;

function readSource(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined; // an error without its source line is still an error
  }
}

/**
 * Reports an error and returns the exit status. A user's mistake is one message; only internal errors show a stack
 * trace.
 */
export function report(thrown: unknown): number {
  const error = readableFault(thrown);
  if (error instanceof CommanderError) return error.exitCode;
  const { text, status } = faultText(error);
  if (text !== "") process.stderr.write(`${text}\n`);
  return status;
}
