/**
 * `npm run fuzz:kills -- --kind job --times 200 --device cpu|webgpu --seed 1` kills training runs, and `npm run
 * fuzz:growth -- --steps 5000 --device cpu|webgpu` looks for leaks in one: each exits with status 1 where it found
 * something.
 */
import { Command, Option } from "commander";
import { openDevice, parseDevice } from "../../../cli/device.ts";
import { growthOf } from "./growth.ts";
import { killKinds } from "./kill-kinds.ts";
import { tryKills } from "./kills.ts";

const device = () => new Option("--device <name>", "where runs compute").choices(["cpu", "webgpu"]).default("cpu");
const tell = (text: string): void => void process.stderr.write(`${text}\n`);

function report(findings: readonly string[]): void {
  for (const finding of findings) process.stdout.write(`${finding}\n`);
  tell(`${findings.length} findings`);
  process.exitCode = findings.length === 0 ? 0 : 1;
}

const program = new Command("fuzz:runs");
program
  .command("kills")
  .addOption(device())
  .addOption(new Option("--kind <kind>", "what is trained").choices(Object.keys(killKinds)).default("job"))
  .option("--times <count>", "kills in all", Number, 20)
  .option("--steps <count>", "steps of a run", Number, 12)
  .option("--seed <number>", "when they happen", Number, 1)
  .action(async (options) => report((await tryKills({ ...options, tell })).findings));
program
  .command("growth")
  .addOption(device())
  .option("--steps <count>", "steps of the run", Number, 1000)
  .action(async ({ device, steps }) => {
    const { backend } = await openDevice(parseDevice(device));
    try {
      report(await growthOf({ backend, steps, tell }));
    } finally {
      backend.dispose();
    }
  });
await program.parseAsync();
