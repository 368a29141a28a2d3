/** ONNX files in all types of weights, of the families of two towers whose own tests write none. */
import { parseSettings } from "../../dsl/index.ts";
import { bundled, exportTests } from "./classifiers.ts";

for (const name of [
  ...["clip-rn50", "eva01-clip-g-14", "eva02-clip-l-14", "eva02-clip-e-14", "viclip-b-16"],
  ...["internvl-c", "internvl-g"],
])
  exportTests(name, parseSettings(bundled(name), ["tiny"]));
