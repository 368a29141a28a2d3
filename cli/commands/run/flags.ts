/** The common options of commands that run a model's weights. */
import { type Command, Option } from "commander";
import { weightDtypes } from "../../../compiler/index.ts";
import { checkTypes, checkTypesFlag } from "../../check-types.ts";
import { weightsOf } from "../../checkpoint.ts";
import { helpStyle } from "../../help.ts";
import { byteCount, collect, imageSize, wholeNumber } from "../../options/values.ts";

/** Adds the flags of `RunOptions`. */
export const runFlags = (command: Command, source: string): Command =>
  command
    .configureHelp(helpStyle)
    .addOption(weightsOption(source))
    .option("--tokenizer <file>", 'a tokenizer.json, or "bytes"; default the one beside the weights')
    .option("--device <device>", "auto, webgpu or cpu", "auto")
    .option("--batch <n>", "images or texts per batch", wholeNumber, 16)
    .option("--set <key=value>", "change a setting, or choose a named configuration; may be repeated", collect, [])
    .addOption(
      new Option("--dtype <dtype>", "dtype of the weights; f16 also computes in f16, where the device can")
        .choices(weightDtypes)
        .default("f32"),
    )
    .option("--fixed", "compile for each run's sizes; default once for all sizes", false)
    .option("--offload", "leave weights on disk and stream them through the device, part by part", false)
    .option("--memory <size>", "with --offload: size of the weights held at once (2GB)", byteCount)
    .option("--no-tuning", "ignore the results of heddle tune")
    .addOption(
      new Option("--fit <how>", "how images get the aspect ratio of the model's input").choices([
        "crop",
        "squash",
        "pad",
      ]),
    )
    .option("--size <height>x<width>", "size of the images, for a model of images of any size", imageSize)
    .option(...checkTypesFlag)
    .option("--json", "print JSON", false)
    .hook("preAction", async (_, chosen) => {
      if (chosen.optsWithGlobals<{ readonly checkTypes?: boolean }>().checkTypes) await checkTypes(source);
    });

/** `--weights` is required, unless the model is a checkpoint's folder. */
function weightsOption(source: string): Option {
  const option = new Option("--weights <path>", 'a safetensors file, its index, the folder of either, or "random"');
  const own = weightsOf(source, undefined);
  return own === undefined ? option.makeOptionMandatory() : option.default(own, "the model's own");
}
