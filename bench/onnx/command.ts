/**
 * Compares files written by `heddle export` with those of PyTorch's exporter, Optimum and onnxruntime's quantizer, for
 * the same weights, in the same onnxruntime on the CPU: `npm run bench -- onnx --python PYTHON`. Outputs are compared
 * first; each file is opened in its own process, in alternation.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { Command, Option } from "commander";
import { dtypes, type Refused, writtenFiles } from "./files.ts";
import { type Measured, measureFile } from "./measure-file.ts";
import { type Subject, subjects } from "./subjects.ts";
import { farthest, table } from "./table.ts";

interface Options {
  readonly python: string;
  readonly models: readonly (keyof typeof subjects)[];
  readonly dtypes?: readonly string[];
  readonly layers?: number;
  readonly rounds: number;
  readonly timed: number;
  readonly folder: string;
  readonly operators: boolean;
}

export async function onnxBench(argv: readonly string[]): Promise<number> {
  const program = new Command("bench onnx")
    .description("Exported files beside those of other exporters, in one onnxruntime.")
    .option("--python <command>", "a Python that has what peers/torch/onnx_files.py names", "python3")
    .addOption(
      new Option("--models <names...>", "what is exported")
        .choices(Object.keys(subjects))
        .default(Object.keys(subjects)),
    )
    .addOption(new Option("--dtypes <names...>", "in these besides f32, which all are compared with").choices(dtypes))
    .option("--layers <n>", "fewer layers, to try it", Number)
    .option("--rounds <n>", "processes of each file", Number, 3)
    .option("--timed <n>", "timed runs in a process", Number, 5)
    .option("--folder <folder>", "where files lie for a while", tmpdir())
    .option("--operators", "also what onnxruntime's optimizations make of each file", false);
  program.parse([...argv], { from: "user" });
  const options = program.opts<Options>();
  let near = true;
  for (const name of options.models) {
    const folder = await mkdtemp(join(options.folder, "heddle-onnx-"));
    try {
      near = (await compare(subjects[name]!, folder, options)) && near;
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  return near ? 0 : 1;
}

/** All, from another one on in each round: which process ran before matters to memory and the file cache. */
const inTurn = <T>(all: readonly T[], round: number): readonly T[] => {
  const first = round % Math.max(all.length, 1);
  return [...all.slice(first), ...all.slice(0, first)];
};

/** Prints the measurements; false when a file failed or its outputs differ from the others'. */
async function compare(subject: Subject, folder: string, options: Options): Promise<boolean> {
  const { python, layers, rounds, timed, operators } = options;
  const asked = options.dtypes ? ["f32", ...options.dtypes] : dtypes;
  const say = (text: string) => process.stdout.write(`${text}\n`);
  say(
    `${subject.title}${layers ? `, ${layers} layers` : ""}; random weights; ${cpus().length} cores of ${cpus()[0]?.model}`,
  );
  const files = await writtenFiles(subject, { folder, python, layers, dtypes: asked });
  const measured: Measured[] = [];
  const failed: Refused[] = files.filter((file) => "failure" in file);
  for (const file of files) if (!("failure" in file)) measured.push({ ...file, rounds: [] });
  for (let round = 0; round < rounds; round++) {
    for (const [i, file] of inTurn([...measured.entries()], round)) {
      const order = { file: file.file, phases: subject.phases, timed, operators: operators && round === 0 };
      const outcome = await measureFile(order);
      if ("failure" in outcome) failed.push({ ...file, failure: outcome.failure });
      else measured[i] = { ...file, rounds: [...file.rounds, outcome.figures] };
    }
  }
  const whole = measured.filter((file) => file.rounds.length === rounds);
  const apart = farthest(subject, whole);
  for (const { text } of apart) say(text);
  for (const line of table(subject, whole)) say(line);
  for (const { peer, dtype, failure } of failed) say(`${peer}, ${dtype}: ${failure}`);
  for (const { peer, dtype, rounds } of whole) {
    const found = rounds[0]!.operators;
    if (found)
      say(
        `${peer}, ${dtype}: ${Object.entries(found)
          .map(([op, n]) => `${n} ${op}`)
          .join(", ")}`,
      );
  }
  say("");
  return failed.length === 0 && apart.every(({ isNear }) => isNear);
}
