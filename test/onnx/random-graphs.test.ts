/** Random graphs over the whole registry mean in ONNX what the interpreter says, written with any opset and run either way. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { type Graph, printType } from "../../compiler/index.ts";
import { graphArbitrary, inputValues } from "../support/random-graph.ts";
import { excess } from "../support/samples.ts";
import { reference, throughCpu, throughOnnx } from "./support.ts";

/** Largest excess over a tolerance that grants a dozen roundings. */
function worst(graph: Graph, got: ReadonlyMap<string, ArrayLike<number>>, want: ReadonlyMap<string, Float64Array>) {
  return Math.max(...graph.outputs.map((o) => excess(got.get(o.name)!, want.get(o.name)!, 1e-4, 1e-3)));
}
