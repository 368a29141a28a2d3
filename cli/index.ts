/** Entry point of the command line: `main`, and what examples, tests and the bench share with its commands. */

export { tunedOptions } from "../api/node-index.ts";
export { type ChosenDevice, openDevice, parseDevice } from "./device.ts";
export { loadJob } from "./load.ts";
export { main } from "./main.ts";
export { type OnnxFile, type OnnxFileOptions, writeOnnxFile } from "./onnx-file.ts";
export { type PlannedJob, planHere } from "./plan/plan-here.ts";
export { openRankDevice } from "./rank-device.ts";
