/** Commands of training: train, plan, report. */
import { type Command, Option } from "commander";
import { precisions } from "../../compiler/index.ts";
import { checkTypesFlag } from "../check-types.ts";
import { shardOption } from "./shards.ts";
import { type Done, jsonOption, memoryOption, setOption, sizeOption } from "./shared.ts";
import { collect, share, wholeNumber } from "./values.ts";

/** Adds them to a program; `done` gets the exit status. */
export function trainingCommands(program: Command, done: Done): void {
  declareTrain(program, done);
  declarePlan(program, done);
  declareReport(program, done);
}

function declareTrain(program: Command, done: Done): void {
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
    .option(...memoryOption)
    .option(...setOption)
    .option("--json", "print the summary on stdout", false)
    .action(async (job, options) => {
      const { trainCommand } = await import("../commands/train.ts");
      done(await trainCommand(job, options));
    });
}

function declarePlan(program: Command, done: Done): void {
  program
    .command("plan <model|job.ts>")
    .description("estimate what a training stage takes on given hardware: memory, largest batch, operations, time")
    .requiredOption(
      "--hardware <text>",
      'as in H200, "8×A100-80G" or "640×A100-80G,IB-200G"; "here" is this machine\'s device',
    )
    .option(...checkTypesFlag)
    .option("--stage <n>", "the stage of the model, or one that follows in a job")
    .option(...setOption)
    .option(...sizeOption)
    .addOption(new Option("--precision <precision>", "compute precision").choices([...precisions]))
    .option(...memoryOption)
    .option("--batch <n>", "samples per device at once; default the largest batch that fits", wholeNumber)
    .addOption(shardOption())
    .option("--efficiency <share>", "fraction of the roofline that kernels reach, up to 1", share, 1)
    .option("--measure", "with --hardware here: time each distinct kernel instead of using the roofline", false)
    .option(...jsonOption)
    .action(async (source, options) => {
      const { planCommand } = await import("../commands/plan.ts");
      done(await planCommand(source, options));
    });
}

function declareReport(program: Command, done: Done): void {
  program
    .command("report <folder>")
    .description("write a run's report.html again from the files in its folder")
    .option(...jsonOption)
    .action(async (folder, options) => {
      const { reportCommand } = await import("../commands/report.ts");
      done(await reportCommand(folder, options));
    });
}
