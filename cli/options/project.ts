/** Commands that need no model: init, models, devices. */
import type { Command } from "commander";
import { type Done, jsonOption } from "./shared.ts";

/** Adds them to a program; `done` gets the exit status. */
export function projectCommands(program: Command, done: Done): void {
  declareInit(program, done);
  declareModels(program, done);
  declareDevices(program, done);
}

function declareInit(program: Command, done: Done): void {
  program
    .command("init [folder]")
    .description("create a project: a model, a job that trains it, and scripts to check, train and export it")
    .option(...jsonOption)
    .action(async (folder = ".", options) => {
      const { initCommand } = await import("../commands/init.ts");
      done(await initCommand(folder, options));
    });
}

function declareModels(program: Command, done: Done): void {
  program
    .command("models")
    .description("list the bundled models: sizes, papers, stages, modes of heddle run")
    .option(...jsonOption)
    .action(async (options) => {
      const { modelsCommand } = await import("../commands/models.ts");
      done(modelsCommand(options));
    });
}

function declareDevices(program: Command, done: Done): void {
  program
    .command("devices")
    .description("list the devices of this machine, and the one that auto chooses")
    .option("--measure", "also measure the GPU's peak rates: copies, products, dispatches", false)
    .option(...jsonOption)
    .action(async (options) => {
      const { devicesCommand } = await import("../commands/devices.ts");
      done(await devicesCommand(options));
    });
}
