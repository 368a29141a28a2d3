/** Commands that run a model. They read their own arguments, which depend on a mode or protocol. */
import type { Command } from "commander";
import type { Done } from "./shared.ts";

/** Adds them to a program; `done` gets the exit status. */
export function runningCommands(program: Command, done: Done): void {
  declareRun(program, done);
  declareEvaluate(program, done);
}

function declareRun(program: Command, done: Done): void {
  program
    .command("run [arguments...]")
    .description("run a model: features, classify, segment, retrieve, caption, chat, generate")
    .allowUnknownOption()
    .helpOption(false)
    .action(async (given) => {
      const { runCommand } = await import("../commands/run/command.ts");
      done(await runCommand(given));
    });
}

function declareEvaluate(program: Command, done: Done): void {
  program
    .command("evaluate [arguments...]")
    .description("evaluate a model on your own data with a published protocol")
    .allowUnknownOption()
    .helpOption(false)
    .action(async (given) => {
      const { evaluateCommand } = await import("../commands/evaluate/command.ts");
      done(await evaluateCommand(given));
    });
}
