/** Every format that is read from a user's disk or command line, with a valid example and how it is read. */
import { dataFormats } from "./data-formats.ts";
import type { Format } from "./format.ts";
import { onnxFormats } from "./onnx-formats.ts";
import { pictureFormats } from "./picture-formats.ts";
import { processorFormats } from "./processor-formats.ts";
import { runFormats } from "./run-formats.ts";
import { textFormats } from "./text-formats.ts";
import { tokenizerFormats } from "./tokenizer-formats.ts";
import { weightFormats } from "./weight-formats.ts";

export const formats: readonly Format[] = [
  ...weightFormats,
  ...textFormats,
  ...dataFormats,
  ...pictureFormats,
  ...tokenizerFormats,
  ...processorFormats,
  ...runFormats,
  ...onnxFormats,
];
