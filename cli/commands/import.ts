/** `heddle import`: an ONNX file as a graph, weights and a model that all other commands take. */
import { basename, join } from "node:path";
import { graphSymbols, inputName, isFeed, isParameter, nodesOf, printGraph, printType } from "../../compiler/index.ts";
import { escapeControls, makeFolder, ownLayout, tensorsInLayout, writeFileAtomically, writeSafetensors } from "../../runtime/index.ts";
import { importedWeights, readOnnxModel } from "../imported-model.ts";
import { bytes, json, table } from "../output.ts";

export interface ImportArguments {
  /** The folder that is written. */
  readonly out: string;
  /** What open sizes are: "height=640". */
  readonly size: readonly string[];
  readonly json: boolean;
}

export async function importCommand(source: string, args: ImportArguments): Promise<number> {
  const { graph, parameters, notes, opset } = await readOnnxModel(source, args.size);
  const name = basename(source).replace(/\.onnx$/i, "");
  const layout = ownLayout(graph);
  await makeFolder(args.out);
  const weights = join(args.out, "model.safetensors");
  await writeSafetensors(weights, tensorsInLayout(layout, importedWeights(source, parameters)));
  await writeFileAtomically(join(args.out, "model.graph"), printGraph(graph));
  // The model comes last: a folder that has one is complete.
  await writeFileAtomically(join(args.out, "model.ts"), modelText(name));
  const size = layout.reduce((n, t) => n + 4 * t.shape.reduce((k, d) => k * d, 1), 0);
  const facts = {
    folder: args.out,
    files: ["model.graph", "model.safetensors", "model.ts"],
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

/** A model of the graph beside it; what it is called is a text, whatever the file is called. */
const modelText = (name: string): string => `/** Written by heddle import; the weights are those of model.safetensors. */
import { readFileSync } from "node:fs";
import { graphModel, parseGraph } from "heddle";

const text = readFileSync(new URL("./model.graph", import.meta.url), "utf8");
export default graphModel(parseGraph(text, "model.graph"), ${JSON.stringify(plainName(name))});
`;

const plainName = (name: string): string => name.replace(/[^\w.-]+/g, "_") || "model";

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
