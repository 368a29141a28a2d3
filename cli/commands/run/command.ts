/** `heddle run <model> ...`: the modes and their options. */
import { Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../../../compiler/index.ts";
import { helpStyle } from "../../help.ts";
import { collect, once, wholeNumber } from "../../option-values.ts";
import type { CaptionOptions } from "./caption.ts";
import type { ChatOptions } from "./chat.ts";
import type { ClassifyOptions } from "./classify.ts";
import type { FeaturesOptions } from "./features.ts";
import { runFlags } from "./flags.ts";
import type { GenerateTextOptions } from "./generate.ts";
import type { IndexOptions, SearchOptions } from "./retrieve.ts";
import type { SegmentOptions } from "./segment.ts";
import { searchFlags, writingFlags } from "./writing.ts";

/** Runs a mode: `args` are the model, the common options, the mode and its own options. */
export async function runCommand(args: readonly string[]): Promise<number> {
  const [source, ...rest] = args;
  const wantsHelp = source === undefined || source === "--help" || source === "-h";
  if (!wantsHelp && source.startsWith("-"))
    throw new UsageError(`heddle run takes the model first: heddle run internvl-c ${args.join(" ")}`);
  let status = 0;
  const program = modes(source ?? "", (code) => {
    status = code;
  });
  await program.parseAsync(wantsHelp ? ["--help"] : rest, { from: "user" });
  return status;
}

function modes(source: string, done: (status: number) => void): Command {
  const program = runFlags(new Command("heddle run <model>"), source)
    .description("run a model: features, segmentation, classification, retrieval, captions, chat, text generation")
    .usage("--weights <path> <mode> [options]")
    .configureHelp({ ...helpStyle, showGlobalOptions: true });
  const add = (parent: Command, name: string, description: string) => {
    const command = parent
      .command(name)
      .description(description)
      .configureHelp({ ...helpStyle, showGlobalOptions: true });
    return command.exitOverride();
  };
  perception(source, add, program, done);
  contrast(source, add, program, done);
  generation(source, add, program, done);
  texts(source, add, program, done);
  return program.exitOverride();
}

type Add = (parent: Command, name: string, description: string) => Command;
type Done = (status: number) => void;

function perception(source: string, add: Add, program: Command, done: Done): void {
  add(program, "features", "write what the model sees as maps, a file for each picture")
    .requiredOption("--image <files...>", "pictures")
    .option("--blocks <list>", "blocks to take, as in 12,24,36,48; 0 is what goes into the first", numbers)
    .requiredOption("--out <folder>", "where the files go")
    .action(async (_, command: Command) => {
      const { featuresCommand } = await import("./features.ts");
      done(await featuresCommand(source, command.optsWithGlobals<FeaturesOptions>()));
    });
  add(program, "segment", "name what is at every place of pictures, drawn over them")
    .requiredOption("--image <files...>", "pictures")
    .option("--labels <names>", 'class names: a JSON file, or "wall,sky"; default the model\'s own')
    .option("--language <code>", "the language to take from a file that has several")
    .requiredOption("--out <folder>", "where the pictures and their class numbers go")
    .action(async (_, command: Command) => {
      const { segmentCommand } = await import("./segment.ts");
      done(await segmentCommand(source, command.optsWithGlobals<SegmentOptions>()));
    });
}

function contrast(source: string, add: Add, program: Command, done: Done): void {
  add(program, "classify", "name what is in pictures, by texts alone or by a classifier's classes")
    .requiredOption("--image <files...>", "pictures")
    .option("--labels <names>", 'class names: a JSON file, or "cat,dog"; of a classifier, default its own')
    .option("--templates <texts>", 'a JSON file, or "a photo of a {c}.|a drawing of a {c}."; default the bare name')
    .option("--language <code>", "the language to take from files that have several; default all of them")
    .option("--prefix <text>", "what all prompts begin with; default as the model has it, nothing for bytes")
    .option("--top <n>", "classes to show", wholeNumber, 5)
    .action(async (_, command: Command) => {
      const { classifyCommand } = await import("./classify.ts");
      done(await classifyCommand(source, command.optsWithGlobals<ClassifyOptions>()));
    });
  const retrieve = add(program, "retrieve", "find pictures by texts and texts by pictures");
  add(retrieve, "index <folder>", "read a folder's pictures and captions into an index")
    .requiredOption("--out <file>", "the index, as in index.safetensors")
    .option("--prefix <text>", "what all texts begin with; default as the model has it, nothing for bytes")
    .action(async (folder: string, _, command: Command) => {
      const { indexCommand } = await import("./retrieve.ts");
      done(await indexCommand(source, folder, command.optsWithGlobals<IndexOptions>()));
    });
  add(retrieve, "search", "search an index")
    .requiredOption("--index <file>", "what retrieve index wrote")
    .option("--text <query>", "look for pictures that a text describes")
    .option("--image <file>", "look for texts that describe a picture", once)
    .addOption(new Option("--among <kind>", "what to look for, when it is the other").choices(["images", "texts"]))
    .option("--prefix <text>", "what the text begins with; default as the model has it, nothing for bytes")
    .option("--top <n>", "how many to show", wholeNumber, 10)
    .action(async (_, command: Command) => {
      const { searchCommand } = await import("./retrieve.ts");
      done(await searchCommand(source, command.optsWithGlobals<SearchOptions>()));
    });
}

function generation(source: string, add: Add, program: Command, done: Done): void {
  const caption = add(program, "caption", "put pictures into words")
    .requiredOption("--image <files...>", "pictures")
    .option("--prompt <text>", "what the words go on from; default as the model has it")
    .option(
      "--example <picture=words>",
      "a picture and what is said of it, for models that read several; may be repeated",
      collect,
      [],
    );
  writingFlags(searchFlags(caption)).action(async (_, command: Command) => {
    const { captionCommand } = await import("./caption.ts");
    done(await captionCommand(source, command.optsWithGlobals<CaptionOptions>()));
  });
  const chat = add(
    program,
    "chat",
    "answer questions about a picture, one line of stdin after the other (default: greedily)",
  )
    .option("--image <file>", "the picture that the conversation is about", once)
    .option("--prompt <texts...>", "questions to ask instead of stdin's")
    .option("--template <name>", "how turns are written, by name; default the model's first");
  writingFlags(chat).action(async (_, command: Command) => {
    const { chatCommand } = await import("./chat.ts");
    done(await chatCommand(source, command.optsWithGlobals<ChatOptions>()));
  });
}

function texts(source: string, add: Add, program: Command, done: Done): void {
  const generate = add(program, "generate", "go on with texts (default: greedily, up to 128 tokens)").requiredOption(
    "--prompt <texts...>",
    "what to go on from, each by itself",
  );
  writingFlags(searchFlags(generate)).action(async (_, command: Command) => {
    const { generateCommand } = await import("./generate.ts");
    done(await generateCommand(source, command.optsWithGlobals<GenerateTextOptions>()));
  });
}

function numbers(text: string): number[] {
  const values = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (values.every(Number.isInteger)) return values;
  throw new InvalidArgumentError("whole numbers with commas between them are needed");
}
