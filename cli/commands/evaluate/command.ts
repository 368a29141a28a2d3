/** `heddle evaluate <model>`: evaluates a model on local data, by the protocols that papers report. */
import { Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../../../compiler/index.ts";
import { collect, positiveNumber, seed, wholeNumber } from "../../options/values.ts";
import { inOutputFolder } from "../../output-folder.ts";
import { runFlags } from "../run/flags.ts";
import { openModel } from "../run/opened-model.ts";
import { usualProbe } from "./attentive.ts";
import { featureNames } from "./frozen-features.ts";
import { usualC, usualNeighbours } from "./learners.ts";
import type { EvaluateOptions } from "./options.ts";
import { protocolNamed, protocols } from "./protocols.ts";
import { usualSuffix } from "./questions.ts";
import { printEvaluation, writeEvaluation } from "./results.ts";
import { usualDraws } from "./shots.ts";
import { usualFrames } from "./zero-shot-video.ts";

/** `args` are the model and its options. */
export async function evaluateCommand(args: readonly string[]): Promise<number> {
  const [source, ...rest] = args;
  const wantsHelp = source === undefined || source === "--help" || source === "-h";
  if (!wantsHelp && source.startsWith("-"))
    throw new UsageError(`heddle evaluate takes the model first: heddle evaluate internvl-c ${args.join(" ")}`);
  const command = runFlags(new Command("heddle evaluate <model>"), source ?? "")
    .description("evaluate a model on your own data with a published protocol")
    .usage("--weights <path> --protocol <name> --data <spec> [options]")
    .requiredOption("--protocol <name>", Object.keys(protocols).join(", "))
    .requiredOption("--data <spec>", "evaluation data, in the syntax of heddle train --data; may be repeated", specs)
    .option("--images <folder>", "folder of a list's images; default the list's own")
    .option("--labels <names>", "class names: a JSON file, or cat,dog; default the names of folders")
    .option("--templates <texts>", 'a JSON file, or "a photo of a {c}.|a drawing of a {c}."; default the bare name')
    .option("--language <code>", "evaluate one language only; default each separately")
    .option("--prefix <text>", "prefix of all texts; default the model's own, none for bytes")
    .option("--answers <file>", "answers by question_id, if they are not in the file of questions")
    .option("--image-name <name>", "file name for an image id, as in COCO_val2014_{12}.jpg")
    .option("--suffix <text>", `appended to every question on a new line (${usualSuffix})`)
    .option("--prompt <text>", "prompt for captions; default the model's own")
    .option("--template <name>", "name of the chat template; default the model's first")
    .option("--max-tokens <n>", "longest answer in tokens", wholeNumber)
    .option("--train <spec>", "training data of a probe; may be repeated", specs)
    .addOption(new Option("--feature <name>", "image features to learn from (tokens)").choices([...featureNames]))
    .option("--c <x>", `inverse strength of L2 regularization (${usualC})`, positiveNumber)
    .option("--k <n>", `number of neighbours (${usualNeighbours.k})`, wholeNumber)
    .option(
      "--temperature <x>",
      `temperature of the neighbours' votes (${usualNeighbours.temperature})`,
      positiveNumber,
    )
    .option("--epochs <n>", `training epochs of an attentive probe (${usualProbe.epochs})`, wholeNumber)
    .option("--rate <x>", `peak learning rate of an attentive probe (${usualProbe.rate})`, positiveNumber)
    .option("--shots <list>", "training samples per class, as in 1,4,16", counts)
    .option("--draws <n>", `with --shots: number of random draws (${usualDraws})`, wholeNumber)
    .option("--seed <n>", "random seed (0)", seed)
    .option(
      "--stride <n>",
      "tokens between the starts of a text's windows; default half of the model's context",
      wholeNumber,
    )
    .option("--frames <n>", `frames to sample from each video (${usualFrames})`, wholeNumber)
    .option("--first-class <n>", "number of the first class in annotations; default the model's own", firstClass)
    .option("--out <folder>", "also write evaluation.json, answers.jsonl and report.html there")
    .addHelpText("after", protocolHelp)
    .exitOverride()
    .action(async (options: EvaluateOptions) => await evaluate(source!, options));
  await command.parseAsync(wantsHelp ? ["--help"] : rest, { from: "user" });
  return 0;
}

const protocolHelp = `
protocols:
${Object.entries(protocols)
  .map(([name, { summary }]) => `  ${name.padEnd(18)} ${summary}`)
  .join("\n")}`;

async function evaluate(source: string, options: EvaluateOptions): Promise<void> {
  const protocol = protocolNamed(options.protocol);
  requireTaken(options);
  const named = await openModel(source, options);
  const evaluated = () => protocol.run(named, options);
  // A folder that cannot be created is an error before anything is computed.
  const outcome = await (options.out === undefined ? evaluated() : inOutputFolder(options.out, evaluated));
  const { weights, data } = options;
  const evaluation = { ...outcome, protocol: options.protocol, model: named.name, weights, data };
  if (options.out !== undefined) await writeEvaluation(options.out, evaluation);
  process.stdout.write(printEvaluation(evaluation, options.json));
}

function counts(text: string): number[] {
  const values = text.split(",").map(Number);
  if (values.every((value) => Number.isInteger(value) && value > 0)) return values;
  throw new InvalidArgumentError("must be comma-separated integers of at least 1");
}

function firstClass(text: string): number {
  if (text === "0" || text === "1") return Number(text);
  throw new InvalidArgumentError("must be 0, or 1 where 0 means no class");
}

/** Collects repeated specs; undefined if there are none, so that a missing one is reported. */
const specs = (value: string, before?: string[]): string[] => collect(value, before ?? []);

/** Options of individual protocols; each has a flag of its name. */
const ofSome = [...new Set(Object.values(protocols).flatMap(({ takes }) => takes))];

/** Throws UsageError for an option that the protocol would ignore. */
function requireTaken(options: EvaluateOptions): void {
  const { takes } = protocolNamed(options.protocol);
  const other = ofSome.find((name) => options[name] !== undefined && !takes.includes(name));
  if (other === undefined && options.draws !== undefined && options.shots === undefined)
    throw new UsageError("--draws needs --shots, as in --shots 1,4,16");
  if (other === undefined) return;
  const flag = `--${other.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)}`;
  throw new UsageError(`${flag} is not an option of --protocol ${options.protocol}`);
}
