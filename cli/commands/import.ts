/** `heddle import`: converts an ONNX file to a graph and weights, which the other commands take. */
import { join } from "node:path";
import { graphSymbols, inputName, isFeed, isParameter, nodesOf, printGraph, printType } from "../../compiler/index.ts";
import {
  escapeControls,
  ownLayout,
  ownLayoutMark,
  tensorsInLayout,
  writeFileAtomically,
  writeSafetensors,
} from "../../runtime/index.ts";
import { importedWeights, readOnnxModel } from "../imported-model.ts";
import { bytes, json, table } from "../output.ts";
import { inOutputFolder } from "../output-folder.ts";

export interface ImportArguments {
  /** The output folder. */
  readonly out: string;
  /** Values of dynamic sizes: "height=640". */
  readonly size: readonly string[];
  /** Values to import instead of the file's outputs. */
  readonly outputs?: readonly string[];
  readonly json: boolean;
}

export async function importCommand(source: string, args: ImportArguments): Promise<number> {
  const { graph, parameters, notes, opset } = await readOnnxModel(source, args.size, args.outputs);
  const layout = ownLayout(graph);
  await inOutputFolder(args.out, async () => {
    const weights = join(args.out, "model.safetensors");
    await writeSafetensors(weights, tensorsInLayout(layout, importedWeights(source, parameters)), {
      metadata: ownLayoutMark,
    });
    // The graph is written last: a folder with one is complete.
    await writeFileAtomically(join(args.out, "model.graph"), printGraph(graph));
  });
  const size = layout.reduce((n, t) => n + 4 * t.shape.reduce((k, d) => k * d, 1), 0);
  const facts = {
    folder: args.out,
    files: ["model.graph", "model.safetensors"],
    opset,
    nodes: nodesOf(graph).length,
    parameters: graph.inputs.filter(isParameter).length,
    bytes: size,
    inputs: Object.fromEntries(graph.inputs.filter(isFeed).map((n) => [inputName(n), printType(n.type)])),
    outputs: Object.fromEntries(graph.outputs.map((o) => [o.name, printType(o.node.type)])),
    openSizes: graphSymbols(graph),
    notes,
  };
  process.stdout.write(args.json ? `${json(facts)}\n` : describe(facts));
  return 0;
}

interface Facts {
  readonly folder: string;
  readonly files: readonly string[];
  readonly opset: number;
  readonly nodes: number;
  readonly parameters: number;
  readonly bytes: number;
  readonly inputs: Readonly<Record<string, string>>;
  readonly outputs: Readonly<Record<string, string>>;
  readonly openSizes: readonly string[];
}

const listed = (values: Readonly<Record<string, string>>): string =>
  Object.entries(values)
    .map(([name, type]) => `${name} ${type}`)
    .join(", ");

const describe = (f: Facts): string =>
  escapeControls(
    `${table([
      ["written", `${f.folder}: ${f.files.join(", ")}`],
      ["graph", `${f.nodes} nodes, from opset ${f.opset}`],
      ["weights", `${f.parameters} tensors, ${bytes(f.bytes)}`],
      ["inputs", listed(f.inputs)],
      ["outputs", listed(f.outputs)],
      ["open sizes", f.openSizes.length > 0 ? f.openSizes.join(", ") : "none"],
    ])}\n`,
  );
