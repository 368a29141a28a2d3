/** The commands `heddle data scan|filter|write`, as commander declares them. */
import type { Command } from "commander";
import { shardSize } from "./shards.ts";
import { type Done, jsonOption } from "./shared.ts";
import { collect } from "./values.ts";

/** Adds them to a program; `done` gets the exit status. */
export function dataCommands(program: Command, done: Done): void {
  const data = program.command("data").description("describe, filter and reshard datasets");
  const reading = (name: string, does: string) =>
    data
      .command(`${name} <specs...>`)
      .description(does)
      .exitOverride()
      .option("--kind <kind>", "pairs, conversations, labels, masks, texts or records", "pairs")
      .option("--images <folder>", "folder of a list's images; default the list's own")
      .option("--language <code>", "language of captions without one, as in en or zh")
      .option("--quick", "read only the sizes of images, without decoding them", false)
      .option(...jsonOption);
  const filters = [
    "--filter <filter>",
    "filter rule, as in caption.words>=3, or a .json file with a list of filters; may be repeated",
  ] as const;
  reading("scan", "count samples, images, languages and broken files").action(async (specs, options) => {
    const { scanCommand } = await import("../commands/data.ts");
    done(await scanCommand(specs, options));
  });
  reading("filter", "count what filters keep and drop, without writing")
    .option(...filters, collect, [])
    .action(async (specs, options) => {
      const { filterCommand } = await import("../commands/data.ts");
      done(await filterCommand(specs, options));
    });
  reading("write", "write what filters keep as WebDataset shards")
    .option(...filters, collect, [])
    .requiredOption("--out <folder>", "a new folder")
    .addOption(shardSize("a shard", 1))
    .action(async (specs, options) => {
      const { writeCommand } = await import("../commands/data.ts");
      done(await writeCommand(specs, options));
    });
}
