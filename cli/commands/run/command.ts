/** `heddle run <model> ...`: the modes and their options. */
import { Command, InvalidArgumentError, Option } from "commander";
import { UsageError } from "../../../compiler/index.ts";
import { helpStyle } from "../../help.ts";
import { collect, once, wholeNumber } from "../../options/values.ts";
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
  add(program, "features", "write the model's feature maps, a file for each image")
    .requiredOption("--image <files...>", "images")
    .option("--blocks <list>", "blocks to write, as in 12,24,36,48; 0 is the input of the first", numbers)
    .requiredOption("--out <folder>", "output folder")
    .action(async (_, command: Command) => {
      const { featuresCommand } = await import("./features.ts");
      done(await featuresCommand(source, command.optsWithGlobals<FeaturesOptions>()));
    });
  add(program, "segment", "classify every pixel of images, and draw the classes over them")
    .requiredOption("--image <files...>", "images")
    .option("--labels <names>", 'class names: a JSON file, or "wall,sky"; default the model\'s own')
    .option("--language <code>", "language to use from a file with several")
    .requiredOption("--out <folder>", "output folder of the drawn images and their class maps")
    .action(async (_, command: Command) => {
      const { segmentCommand } = await import("./segment.ts");
      done(await segmentCommand(source, command.optsWithGlobals<SegmentOptions>()));
    });
}

function contrast(source: string, add: Add, program: Command, done: Done): void {
  add(program, "classify", "classify images, zero-shot by texts or with a classifier's own classes")
    .requiredOption("--image <files...>", "images")
    .option("--labels <names>", 'class names: a JSON file, or "cat,dog"; default a classifier\'s own')
    .option("--templates <texts>", 'a JSON file, or "a photo of a {c}.|a drawing of a {c}."; default the bare name')
    .option("--language <code>", "language to use from files with several; default all")
    .option("--prefix <text>", "prefix of all prompts; default the model's own, none for bytes")
    .option("--top <n>", "classes to show", wholeNumber, 5)
    .action(async (_, command: Command) => {
      const { classifyCommand } = await import("./classify.ts");
      done(await classifyCommand(source, command.optsWithGlobals<ClassifyOptions>()));
    });
  const retrieve = add(program, "retrieve", "find images by text and texts by image");
  add(retrieve, "index <folder>", "build an index of a folder's images and captions")
    .requiredOption("--out <file>", "index file to write, as in index.safetensors")
    .option("--prefix <text>", "prefix of all texts; default the model's own, none for bytes")
    .action(async (folder: string, _, command: Command) => {
      const { indexCommand } = await import("./retrieve.ts");
      done(await indexCommand(source, folder, command.optsWithGlobals<IndexOptions>()));
    });
  add(retrieve, "search", "search an index")
    .requiredOption("--index <file>", "index file that retrieve index wrote")
    .option("--text <query>", "find images that match a text")
    .option("--image <file>", "find texts that match an image", once)
    .addOption(
      new Option("--among <kind>", "what to find; default images for --text, texts for --image").choices([
        "images",
        "texts",
      ]),
    )
    .option("--prefix <text>", "prefix of the text; default the model's own, none for bytes")
    .option("--top <n>", "number of results to show", wholeNumber, 10)
    .action(async (_, command: Command) => {
      const { searchCommand } = await import("./retrieve.ts");
      done(await searchCommand(source, command.optsWithGlobals<SearchOptions>()));
    });
}

function generation(source: string, add: Add, program: Command, done: Done): void {
  const caption = add(program, "caption", "write captions of images")
    .requiredOption("--image <files...>", "images")
    .option("--prompt <text>", "prompt that the caption continues; default the model's own")
    .option(
      "--example <image=caption>",
      "an image and its caption to show first, for models that read several; may be repeated",
      collect,
      [],
    );
  writingFlags(searchFlags(caption)).action(async (_, command: Command) => {
    const { captionCommand } = await import("./caption.ts");
    done(await captionCommand(source, command.optsWithGlobals<CaptionOptions>()));
  });
  const chat = add(program, "chat", "answer questions about an image, one per line of stdin (default: greedy decoding)")
    .option("--image <file>", "image that the conversation is about", once)
    .option("--prompt <texts...>", "questions to ask instead of reading stdin")
    .option("--template <name>", "name of the chat template; default the model's first");
  writingFlags(chat).action(async (_, command: Command) => {
    const { chatCommand } = await import("./chat.ts");
    done(await chatCommand(source, command.optsWithGlobals<ChatOptions>()));
  });
}

function texts(source: string, add: Add, program: Command, done: Done): void {
  const generate = add(
    program,
    "generate",
    "continue texts, or write texts from source texts (default: greedy decoding, up to 128 tokens)",
  ).requiredOption("--prompt <texts...>", "prompts, or sources of an encoder-decoder, each by itself");
  writingFlags(searchFlags(generate)).action(async (_, command: Command) => {
    const { generateCommand } = await import("./generate.ts");
    done(await generateCommand(source, command.optsWithGlobals<GenerateTextOptions>()));
  });
}

function numbers(text: string): number[] {
  const values = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (values.every(Number.isInteger)) return values;
  throw new InvalidArgumentError("must be comma-separated integers");
}
