/** The command line: what a person types, turned into calls on commands, each of which is loaded when it is called. */
import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { Command, CommanderError, Option } from "commander";
import { heddleVersion } from "../api/node-index.ts";
import type { Activations, Dialect } from "../backends/onnx/index.ts";
import { precisions, setSourceReader, switchHelp } from "../compiler/index.ts";
import { shards } from "../runtime/index.ts";
import type { OpenTrace } from "../runtime/node-index.ts";
import { adapterNames, anyGpu } from "./adapters.ts";
import { checkTypes, checkTypesFlag } from "./check-types.ts";
import { faultText } from "./fault-text.ts";
import {
  byteCount,
  collect,
  duration,
  memoryBudget,
  positiveNumber,
  seed,
  share,
  wholeNumber,
} from "./option-values.ts";

const framesKept = 64;

/** Commands that end before a larger young generation would save time: a second's work leaves 100 MB of garbage. */
const brief: readonly string[] = ["inspect"];

/** Runs one command and gives the exit status: 0, 1 for a user's mistake, 2 for a fault of ours. */
export async function main(argv: readonly string[]): Promise<number> {
  setSourceReader(readSource);
  Error.stackTraceLimit = Math.max(Error.stackTraceLimit, framesKept); // the user's call may lie below many of ours
  let status = 0;
  let trace: OpenTrace | undefined;
  const program = commands((code) => {
    status = code;
  }).hook("preAction", async (command, chosen) => {
    if (!brief.includes(chosen.name())) setFlagsFromString("--semi-space-growth-factor=2"); // V8's default
    const { trace: file } = command.opts<{ readonly trace?: string }>();
    if (file !== undefined) trace ??= await openTrace(file);
    if (chosen.opts<{ readonly checkTypes?: boolean }>().checkTypes) await checkTypes(chosen.args[0]!);
  });
  try {
    await program.parseAsync([...argv], { from: "user" });
    return status;
  } catch (error) {
    return report(error);
  } finally {
    trace?.dispose();
  }
}

/** Several ranks write a file each: the name of all but the first has its number. */
async function openTrace(file: string): Promise<OpenTrace> {
  const { launchOf, openTrace: open } = await import("../runtime/node-index.ts");
  const rank = launchOf(process.env)?.rank ?? 0;
  return open(rank === 0 ? file : `${file}.rank-${rank}`);
}

/** What ONNX files may be asked to have, named apart from the exporter so that no command but export loads it. */
const dialects = Object.keys({ standard: true, onnxruntime: true } satisfies Record<Dialect, true>);
const activationTypes = Object.keys({ float: true, int8: true } satisfies Record<Activations, true>);

const shardOption = (): Option =>
  new Option(
    "--shard <what>",
    "what each rank keeps its part of, rather than all: ZeRO stages 1, 2, 3, each with those before",
  ).choices([...shards]);

function commands(done: (status: number) => void): Command {
  const program = new Command("heddle")
    .description("Declare vision-language models in TypeScript; train them, compile them to WebGPU and ONNX.")
    .version(heddleVersion())
    .exitOverride()
    .option("--trace <file>", "write a timeline of what the command does, which ui.perfetto.dev opens")
    .addHelpText("after", environmentHelp);
  const set = [
    "--set <key=value>",
    "change a setting, or take a configuration by name; may be repeated",
    collect,
    [] as string[],
  ] as const;
  const graph = ["--graph <name>", "another graph of the model, such as decode; heddle inspect lists them"] as const;
  const size = ["--size <name=n>", "number for one symbolic size; may be repeated", collect, [] as string[]] as const;
  const memory = [
    "--memory <budget>",
    "what a graph may take on WebGPU, as in 24GiB, or 0.8 of the device's: values are computed again to fit",
    memoryBudget,
  ] as const;
  program
    .command("init [folder]")
    .description("a new project: a model, a job that trains it, and the commands to check, train and export it")
    .option("--json", "for programs", false)
    .action(async (folder = ".", options) => {
      const { initCommand } = await import("./commands/init.ts");
      done(await initCommand(folder, options));
    });
  program
    .command("inspect <model|job.ts>")
    .description("what a model or the step of a training job is, costs and compiles to")
    .option(...checkTypesFlag)
    .option(...set)
    .option(...graph)
    .option("--batch <n>", "number that stands for symbolic sizes; default 1, and of a job its own", wholeNumber)
    .option(...size)
    .option("--text", "print the graph", false)
    .option(
      "--target <target>",
      "whose stages --pass, --html and the switches show: webgpu, onnx or reference",
      "webgpu",
    )
    .option("--dtype <dtype>", "computed in f32 or f16, or weights kept as int8 or int4", "f32")
    .option("--pass <name>", "print what a stage of the target was given and what it made")
    .option("--kernels [pattern]", "list the kernels whose names match: how each is made, and why not otherwise")
    .option("--adapter <name>", `whom kernels are made for: ${adapterNames.join(", ")}`, anyGpu)
    .option("--fixed", "with --kernels: made for these sizes alone, rather than for any", false)
    .option("--measure", "with --kernels: time them on the GPU that is here, beside what it can do at most", false)
    .option("--html <file>", "write a page to step through the stages")
    .option("--stage <n>", "inspect the training step of this stage")
    .option(...memory)
    .option("--sweep <key=a,b,c>", "table of vision shapes: depth, headDim, mlpRatio; may be repeated", collect, [])
    .option("--budget <n>", "parameters that every shape of the sweep comes to", positiveNumber)
    .option("--device <device>", "with --sweep: also measure one block on this device")
    .option("--json", "figures for programs", false)
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
      "what a stage is trained on: shards, a folder, a list, as in 2*'shards/{000..099}.tar'; may be repeated",
      collect,
      [],
    )
    .option("--filter <rule>", "which samples are taken, as in 'caption.words>=3'; may be repeated", collect, [])
    .option("--validate <spec>", "what a stage is judged on while it trains, as --data names it", collect, [])
    .option("--tokenizer <path>", 'a tokenizer.json or its folder, or "bytes"; default the one beside --from')
    .option("--device <device>", "auto, webgpu or cpu", "auto")
    .option("--from <path>", "run, checkpoint or folder to start from; may be repeated, the first wins", collect, [])
    .addOption(
      new Option(
        "--precision <precision>",
        "what a job computes in that has this setting; its parameters are f32",
      ).choices([...precisions]),
    )
    .option("--resume", "go on with the newest run from its newest checkpoint", false)
    .option("--changed-data", "with --resume: go on although files of the data changed, from the next epoch on", false)
    .option("--runs <folder>", "where run folders are made", "runs")
    .option("--no-tuning", "choose kernels without what heddle tune found")
    .addOption(shardOption())
    .option("--share-devices", "let ranks of one machine compute on one GPU, where it has fewer", false)
    .option(...memory)
    .option(...set)
    .option("--json", "print the summary on stdout", false)
    .action(async (job, options) => {
      const { trainCommand } = await import("./commands/train.ts");
      done(await trainCommand(job, options));
    });
  program
    .command("plan <model|job.ts>")
    .description("what a stage of training takes on given hardware: memory, largest batch, operations, time")
    .requiredOption(
      "--hardware <text>",
      'as in H200, "8×A100-80G" or "640×A100-80G,IB-200G"; here is the device that is here',
    )
    .option(...checkTypesFlag)
    .option("--stage <n>", "the stage of the model; a job is one")
    .option(...set)
    .option(...size)
    .addOption(new Option("--precision <precision>", "what is computed in").choices([...precisions]))
    .option(...memory)
    .option(
      "--batch <n>",
      "samples that a device computes at once, of which alone a plan is made; default what fits",
      wholeNumber,
    )
    .addOption(shardOption())
    .option("--efficiency <share>", "of the roofline that kernels reach, up to 1", share, 1)
    .option(
      "--measure",
      "with --hardware here: run each shape of kernel once and count its time, not the roofline's",
      false,
    )
    .option("--json", "figures for programs", false)
    .action(async (source, options) => {
      const { planCommand } = await import("./commands/plan.ts");
      done(await planCommand(source, options));
    });
  program
    .command("report <folder>")
    .description("make a run's report.html again from the files in its folder")
    .option("--json", "for programs", false)
    .action(async (folder, options) => {
      const { reportCommand } = await import("./commands/report.ts");
      done(await reportCommand(folder, options));
    });
  program
    .command("tune <model>")
    .description("time every way to make a model's kernels on the GPU, and keep what is faster for later runs")
    .option(...checkTypesFlag)
    .option(...set)
    .option(...graph)
    .option("--stage <n>", "the kernels of the training step of this stage")
    .option("--batch <n>", "number that stands for symbolic sizes", wholeNumber, 1)
    .option(...size)
    .addOption(
      new Option("--dtype <dtype>", "what is computed in, and weights are kept as")
        .choices(["f32", "f16"])
        .default("f32"),
    )
    .option("--fixed", "for these sizes alone, as heddle run --fixed compiles; default for any", false)
    .option("--budget <time>", "as in 60s or 5m", duration, 60_000)
    .option("--json", "for programs", false)
    .action(async (model, options) => {
      const { tuneCommand } = await import("./commands/tune.ts");
      done(await tuneCommand(model, options));
    });
  program
    .command("compile <model>")
    .description("a WebGPU bundle that a page runs, or an ONNX file")
    .option(...checkTypesFlag)
    .requiredOption("--target <target>", "webgpu or onnx")
    .requiredOption("--out <path>", "folder of the bundle, or the ONNX file")
    .option("--weights <path>", "safetensors file, index or folder; default random values")
    .option(...set)
    .option(...graph)
    .option("--dtype <dtype>", "what weights are kept as: f32 or f16; what export takes for an ONNX file", "f32")
    .addOption(
      new Option("--precision <precision>", "what a bundle computes in; f16 needs a device that has it")
        .choices([...precisions])
        .default("f32"),
    )
    .option("--adapter <name>", `whom a bundle's kernels are made for: ${adapterNames.join(", ")}`, anyGpu)
    .option("--batch <n>", "number that stands for symbolic sizes in a bundle", wholeNumber, 1)
    .option(...size)
    .option("--seed <n>", "of random values", seed, 0)
    .option("--json", "for programs", false)
    .action(async (model, options) => {
      const { compileCommand } = await import("./commands/compile.ts");
      done(await compileCommand(model, options));
    });
  program
    .command("export <model>")
    .description("an ONNX file, checked against heddle's own execution with --verify")
    .option(...checkTypesFlag)
    .requiredOption("--out <file.onnx>", "where to write")
    .option("--weights <path>", "safetensors file, index or folder; default random values")
    .option(...set)
    .option(...graph)
    .option("--dtype <dtype>", "f32, f16, int8 or int4", "f32")
    .addOption(
      new Option("--dialect <dialect>", "onnxruntime: also operators of its own, which it opens and runs faster")
        .choices(dialects)
        .default("standard"),
    )
    .addOption(
      new Option(
        "--activations <type>",
        "int8, with weights of int8: rounds what they are multiplied by, and multiplies integers",
      )
        .choices(activationTypes)
        .default("float"),
    )
    .option("--ids <type>", "int64 or int32 for inputs of whole numbers; int64 for graphs with keys and values")
    .option("--opset <n>", "17 to the newest that onnxruntime runs", wholeNumber)
    .option("--outputs <names...>", "only these outputs and what they need")
    .option("--seed <n>", "of random values", seed, 0)
    .option("--verify", "run the file in onnxruntime and compare", false)
    .option("--json", "for programs", false)
    .action(async (model, options) => {
      const { exportCommand } = await import("./commands/export.ts");
      done(await exportCommand(model, options));
    });
  program
    .command("import <file.onnx>")
    .description("an ONNX file as a graph with named axes, and its weights, which the other commands take")
    .requiredOption("--out <folder>", "where to write model.graph and model.safetensors")
    .option(
      "--size <name=n>",
      "what an open size of the file is: a number, or another that it is the same as; may be repeated",
      collect,
      [] as string[],
    )
    .option("--json", "for programs", false)
    .action(async (file, options) => {
      const { importCommand } = await import("./commands/import.ts");
      done(await importCommand(file, options));
    });
  program
    .command("convert <model>")
    .description("weights in the published layout, sharded, with config.json: what Python's transformers reads")
    .option(...checkTypesFlag)
    .option("--weights <path>", "safetensors file, index or folder in any layout, or random; default a folder's own")
    .requiredOption("--out <folder>", "a folder that is not there yet")
    .option("--dtype <dtype>", "f32, f16 or bf16; default as each tensor is stored")
    .option("--shard-size <size>", "bytes that a file holds at most, as in 5GB or 500MB", byteCount, 5e9)
    .option(...set)
    .option("--seed <n>", "of random values", seed, 0)
    .option("--json", "for programs", false)
    .action(async (model, options) => {
      const { convertCommand } = await import("./commands/convert.ts");
      done(await convertCommand(model, options));
    });
  program
    .command("models")
    .description("the models that come with heddle: sizes, papers, stages, what they are run for")
    .option("--json", "for programs", false)
    .action(async (options) => {
      const { modelsCommand } = await import("./commands/models.ts");
      done(modelsCommand(options));
    });
  program
    .command("devices")
    .description("what is here, and which one auto takes")
    .option("--measure", "also what the GPU can do at most: copying, multiplying, dispatching", false)
    .option("--json", "for programs", false)
    .action(async (options) => {
      const { devicesCommand } = await import("./commands/devices.ts");
      done(await devicesCommand(options));
    });
  program
    .command("run [arguments...]")
    .description("use a model: features, classify, segment, retrieve, caption, chat, generate; see heddle run --help")
    .allowUnknownOption()
    .helpOption(false)
    .action(async (given) => {
      const { runCommand } = await import("./commands/run/command.ts");
      done(await runCommand(given));
    });
  program
    .command("evaluate [arguments...]")
    .description("judge a model on data of your own by a published protocol; see heddle evaluate --help")
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

/** `heddle data scan|filter|write`. */
function dataCommands(program: Command, done: (status: number) => void): void {
  const data = program
    .command("data")
    .description("what a data set holds, what filters drop of it, and new shards of it");
  const reading = (name: string, does: string) =>
    data
      .command(`${name} <specs...>`)
      .description(does)
      .exitOverride()
      .option("--kind <kind>", "pairs, conversations, labels or masks", "pairs")
      .option("--images <folder>", "that the pictures of a .json or .jsonl lie in; default its own")
      .option("--language <code>", "of captions that do not say theirs, as in en or zh")
      .option("--quick", "read pictures' sizes only, without decoding them", false)
      .option("--json", "for programs", false);
  const filters = ["--filter <filter>", "as in caption.words>=3, or a .json that lists such; may be repeated"] as const;
  reading("scan", "count samples, pictures, languages and what is broken").action(async (specs, options) => {
    const { scanCommand } = await import("./commands/data.ts");
    done(await scanCommand(specs, options));
  });
  reading("filter", "count what filters keep and drop, without writing")
    .option(...filters, collect, [])
    .action(async (specs, options) => {
      const { filterCommand } = await import("./commands/data.ts");
      done(await filterCommand(specs, options));
    });
  reading("write", "write what filters keep as WebDataset shards")
    .option(...filters, collect, [])
    .requiredOption("--out <folder>", "a folder that is not there yet")
    .option("--shard-size <size>", "bytes that a shard holds at most, as in 1GB or 500MB", byteCount, 1e9)
    .action(async (specs, options) => {
      const { writeCommand } = await import("./commands/data.ts");
      done(await writeCommand(specs, options));
    });
}

const environmentHelp = `
environment:
${switchHelp.map((s) => `  ${s.example.padEnd(44)} ${s.help}`).join("\n")}
  HEDDLE_ADAPTER=system|swiftshader|lavapipe   the WebGPU adapter to take
  HEDDLE_TUNING=off                            choose kernels without what heddle tune found
  HEDDLE_CACHE=<folder>                        where heddle tune keeps what it finds
  HEDDLE_MPI=<file>                            the MPI library that ranks of heddle train load`;

function readSource(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined; // an error without its source line is still an error
  }
}

/** Tells an error, and gives the status to end with. A user's mistake is one message; only our own faults show a stack trace. */
export function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode;
  const { text, status } = faultText(error);
  if (text !== "") process.stderr.write(`${text}\n`);
  return status;
}
