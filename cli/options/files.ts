/** Commands that write a model to files, or read one: compile, export, import, convert. */
import { type Command, Option } from "commander";
import type { Activations, Dialect } from "../../backends/onnx/index.ts";
import { precisions } from "../../compiler/index.ts";
import { adapterNames, anyGpu } from "../adapters.ts";
import { checkTypesFlag } from "../check-types.ts";
import { shardSize } from "./shards.ts";
import { type Done, graphOption, jsonOption, setOption, sizeOption, weightsOption } from "./shared.ts";
import { collect, seed, wholeNumber } from "./values.ts";

/** The ONNX dialects, named here so that only the command export loads the exporter. */
const dialects = Object.keys({ standard: true, onnxruntime: true } satisfies Record<Dialect, true>);
const activationTypes = Object.keys({ float: true, int8: true } satisfies Record<Activations, true>);

/** Adds them to a program; `done` gets the exit status. */
export function filesCommands(program: Command, done: Done): void {
  declareCompile(program, done);
  declareExport(program, done);
  declareImport(program, done);
  declareConvert(program, done);
}

function declareCompile(program: Command, done: Done): void {
  program
    .command("compile <model>")
    .description("write a WebGPU bundle for web pages, or an ONNX file")
    .option(...checkTypesFlag)
    .requiredOption("--target <target>", "webgpu or onnx")
    .requiredOption("--out <path>", "folder of the bundle, or the ONNX file")
    .option(...weightsOption)
    .option(...setOption)
    .option(...graphOption)
    .option("--dtype <dtype>", "weights in f32 or f16; for an ONNX file as in heddle export", "f32")
    .addOption(
      new Option("--precision <precision>", "compute precision of a bundle; f16 needs a device with the feature")
        .choices([...precisions])
        .default("f32"),
    )
    .option("--adapter <name>", `adapter that a bundle is compiled for: ${adapterNames.join(", ")}`, anyGpu)
    .option("--batch <n>", "value of symbolic sizes in a bundle", wholeNumber, 1)
    .option(...sizeOption)
    .option("--seed <n>", "seed of random values", seed, 0)
    .option(...jsonOption)
    .action(async (model, options) => {
      const { compileCommand } = await import("../commands/compile.ts");
      done(await compileCommand(model, options));
    });
}

function declareExport(program: Command, done: Done): void {
  program
    .command("export <model>")
    .description("write an ONNX file; --verify compares it with heddle's own execution")
    .option(...checkTypesFlag)
    .requiredOption("--out <file.onnx>", "where to write")
    .option(...weightsOption)
    .option(...setOption)
    .option(...graphOption)
    .option("--dtype <dtype>", "f32, f16, int8 or int4", "f32")
    .addOption(
      new Option("--dialect <dialect>", "onnxruntime: also use its contrib operators, which load and run faster")
        .choices(dialects)
        .default("standard"),
    )
    .addOption(
      new Option(
        "--activations <type>",
        "int8, with --dtype int8: quantize activations dynamically, and multiply integers",
      )
        .choices(activationTypes)
        .default("float"),
    )
    .option("--ids <type>", "int64 or int32 for integer inputs; default int64 for graphs with a key-value cache")
    .option("--opset <n>", "17 to the newest that onnxruntime runs; default 20, or 21 for int4", wholeNumber)
    .option("--outputs <names...>", "only these outputs and what they need")
    .option("--seed <n>", "seed of random values", seed, 0)
    .option("--verify", "run the file in onnxruntime and compare", false)
    .option(...jsonOption)
    .action(async (model, options) => {
      const { exportCommand } = await import("../commands/export.ts");
      done(await exportCommand(model, options));
    });
}

function declareImport(program: Command, done: Done): void {
  program
    .command("import <file.onnx>")
    .description("read an ONNX file into a graph and weights that the other commands take")
    .requiredOption("--out <folder>", "where to write model.graph and model.safetensors")
    .option(
      "--size <name=n>",
      "value of a symbolic size of the file: a number, or what it equals, as in 32*rows; may be repeated",
      collect,
      [] as string[],
    )
    .option("--outputs <names...>", "only these values, outputs of any nodes, and what they need")
    .option(...jsonOption)
    .action(async (file, options) => {
      const { importCommand } = await import("../commands/import.ts");
      done(await importCommand(file, options));
    });
}

function declareConvert(program: Command, done: Done): void {
  program
    .command("convert <model>")
    .description("write weights in the published layout, which Python's transformers reads")
    .option(...checkTypesFlag)
    .option("--weights <path>", "safetensors file, index or folder in any layout, or random; default a folder's own")
    .requiredOption("--out <folder>", "a new folder")
    .option("--dtype <dtype>", "f32, f16 or bf16; default as each tensor is stored")
    .addOption(shardSize("a file", 5))
    .option(...setOption)
    .option("--seed <n>", "seed of random values", seed, 0)
    .option(...jsonOption)
    .action(async (model, options) => {
      const { convertCommand } = await import("../commands/convert.ts");
      done(await convertCommand(model, options));
    });
}
