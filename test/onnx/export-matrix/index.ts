/**
 * Exports every bundled model's small configuration in every combination of dtype, activations, dialect and opset, each
 * verified in onnxruntime: `node test/onnx/export-matrix/index.ts --resume matrix.jsonl`. It takes hours; the suite
 * tries a few.
 */
import { execFileSync } from "node:child_process";
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { InterruptedError } from "../../../cli/interruption.ts";
import { attempt, fileOf, removeFiles } from "./attempt.ts";
import { combinations, nameOf, sampled, subjects } from "./combinations.ts";

interface Options {
  readonly resume?: string;
  readonly first: number;
  readonly sample?: number;
  readonly seed: number;
  readonly models?: readonly string[];
  readonly python?: string;
}

/** One line of the file of results. */
interface Line {
  readonly subject: string;
  readonly form: string;
  readonly result: "verified" | "refused" | "failed";
  readonly difference?: number;
  readonly why?: string;
}

const checker = fileURLToPath(new URL("../../../scripts/reference/check_onnx.py", import.meta.url));

/** What onnx's checker refuses of the files. */
function refusedByChecker(python: string, files: readonly string[]): string | undefined {
  try {
    execFileSync(python, [checker, ...files.filter((f) => f.endsWith(".onnx"))], { stdio: "pipe" });
    return undefined;
  } catch (error) {
    return String((error as { stdout?: Buffer }).stdout ?? error).trim();
  }
}

function readLines(file: string | undefined): Line[] {
  if (file === undefined || !existsSync(file)) return [];
  // A line that an interrupted run left unfinished is tried again.
  return readFileSync(file, "utf8")
    .split("\n")
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);
}

async function main({ resume, first, sample, seed, models, python }: Options): Promise<number> {
  const chosen = subjects(models);
  const all = combinations(chosen);
  const tried = sample === undefined ? all.slice(0, first) : sampled(all, sample, seed);
  const lines = readLines(resume);
  const done = new Set(lines.map((l) => `${l.subject} ${l.form}`));
  const folder = mkdtempSync(join(tmpdir(), "heddle-export-matrix-"));
  try {
    for (const one of tried) {
      const [subject, form] = [one.subject.name, nameOf(one.form)];
      if (done.has(`${subject} ${form}`)) continue;
      const found = await attempt(one, fileOf(folder, one)); // an interrupted one is tried again by the next run
      let line: Line = { subject, form, ...found };
      if (found.result === "verified") {
        const why = python === undefined ? undefined : refusedByChecker(python, found.files);
        line = {
          subject,
          form,
          result: why ? "failed" : "verified",
          difference: found.difference,
          ...(why && { why }),
        };
        await removeFiles(found.files);
      }
      lines.push(line);
      if (resume) appendFileSync(resume, `${JSON.stringify(line)}\n`);
      if (line.result === "failed") process.stdout.write(`FAILED  ${subject}, ${form}: ${line.why}\n`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.stdout.write(summary(lines, chosen.length, all.length));
  return lines.some((l) => l.result === "failed") ? 1 : 0;
}

function summary(lines: readonly Line[], graphs: number, total: number): string {
  const of = (result: Line["result"]) => lines.filter((l) => l.result === result);
  const reasons = Map.groupBy(of("refused"), (l) => l.why!);
  const largest = Math.max(0, ...of("verified").map((l) => l.difference ?? 0));
  return [
    `${lines.length} of ${total} combinations of ${graphs} graphs: ${of("verified").length} verified, ${of("refused").length} refused, ${of("failed").length} failed`,
    `largest difference of a verified file, relative to an output's largest value: ${largest.toExponential(1)}`,
    ...[...reasons].map(([why, of]) => `  refused ${of.length}: ${why}`),
    "",
  ].join("\n");
}

const program = new Command("export-matrix")
  .option("--resume <file>", "keep results in this file, a line of JSON each, and skip what it has")
  .option(
    "--first <n>",
    "only the first of the combinations, which are a sample of all",
    Number,
    Number.POSITIVE_INFINITY,
  )
  .option("--sample <n>", "so many combinations drawn at random instead, in rounds of one for each graph", Number)
  .option("--seed <n>", "which sample", Number, 1)
  .option("--models <names...>", "only these bundled models")
  .option("--python <path>", "a Python with the package onnx, whose checker reads each file too")
  .action(async (options: Options) => {
    try {
      process.exitCode = await main(options);
    } catch (error) {
      if (!(error instanceof InterruptedError)) throw error;
      process.stderr.write(`${error.message}\n`);
      process.exitCode = error.status;
    }
  });
await program.parseAsync();
