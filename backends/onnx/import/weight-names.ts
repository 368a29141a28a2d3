/**
 * Names of weights that the exporter made up. PyTorch's exporters transpose the matrices of linear layers when they
 * fold constants, and number the results: `onnx::MatMul_250` or `val_31` is `encoder.layer.0.query.weight`. The node
 * that reads one still says in which module it is, and so does the bias beside it: the weight is named after that, as
 * patterns of paths expect.
 */
import { parameterPath, shownName } from "./file-names.ts";
import type { GraphMessage, NodeMessage } from "./messages.ts";
import { freshName } from "./values.ts";

/** The names of `torch.onnx` for values without one, before and after tools for quantization add their suffixes. */
export const isMadeUp = (name: string): boolean => /^(?:onnx::\w*?_|_?val_)?\d+(?:_[a-zA-Z]\w*)?$/.test(name);

/** What an operand of an operator is called in a module. */
const product = { 0: "weight", 1: "weight" };
const layer = { 1: "weight", 2: "bias" };
const recurrent = { 1: "weight_ih", 2: "weight_hh", 3: "bias" };
const roles: Readonly<Record<string, Readonly<Record<number, string>>>> = {
  MatMul: product,
  FusedMatMul: product,
  Gemm: layer,
  Conv: layer,
  FusedConv: layer,
  ConvTranspose: layer,
  ConvInteger: { 1: "weight" },
  MatMulInteger: { 1: "weight" },
  MatMulIntegerToFloat: { 1: "weight", 6: "bias" },
  DynamicQuantizeMatMul: { 1: "weight", 4: "bias" },
  MatMulNBits: { 1: "weight", 5: "bias" },
  QLinearMatMul: { 3: "weight" },
  QLinearConv: { 3: "weight", 8: "bias" },
  QGemm: { 3: "weight", 6: "bias" },
  RNN: recurrent,
  GRU: recurrent,
  LSTM: recurrent,
};

/** Operators whose result is still the weight. */
const passing = new Set(["Cast", "DequantizeLinear", "Identity", "Transpose"]);

/** Paths of the stored tensors with made-up names whose module is known, by their names in the file. */
export function pathsByReader(graph: GraphMessage): ReadonlyMap<string, string> {
  const source = new Map(graph.initializer.filter((t) => isMadeUp(t.name)).map((t) => [t.name, t.name]));
  const paths = new Map<string, string>();
  if (source.size === 0) return paths;
  const taken = new Set(graph.initializer.map((t) => parameterPath(t.name)));
  const biases = biasesBeside(graph);
  for (const node of withBodies(graph.node)) {
    const first = source.get(node.input[0] ?? "");
    if (first !== undefined && passing.has(node.opType)) source.set(node.output[0] ?? "", first);
    const module = biases.get(node.output[0] ?? "") ?? moduleOf(node);
    if (module === undefined) continue;
    for (const [at, role] of Object.entries(roles[node.opType] ?? {})) {
      const weight = source.get(node.input[Number(at)] ?? "");
      if (weight === undefined || paths.has(weight)) continue;
      const path = freshName(`${module}.${role}`, taken);
      taken.add(path);
      paths.set(weight, path);
    }
  }
  return paths;
}

/** The nodes, and those of the bodies of their branches and loops. */
function* withBodies(nodes: readonly NodeMessage[]): Generator<NodeMessage> {
  for (const node of nodes) {
    yield node;
    for (const { g } of node.attribute) if (g) yield* withBodies(g.node);
  }
}

/** The module of the stored bias that is added to a value, by the value's name. */
function biasesBeside(graph: GraphMessage): ReadonlyMap<string, string> {
  const named = graph.initializer.filter((t) => /[./]bias$/.test(t.name));
  const modules = new Map(named.map((t) => [t.name, parameterPath(t.name).replace(/\.bias$/, "")]));
  const found = new Map<string, string>();
  for (const { opType, input } of graph.node) {
    if (opType !== "Add") continue;
    const module = input.map((name) => modules.get(name)).find((m) => m !== undefined);
    if (module !== undefined) for (const name of input) found.set(name, module);
  }
  return found;
}

/**
 * The path of the module that a node is part of: in its metadata, "['', 'encoder', 'encoder.query', 'linear']", whose
 * last name is the operation's, or in its own name, "/encoder/query/MatMul".
 */
function moduleOf(node: NodeMessage): string | undefined {
  const scopes = node.metadataProps.find((e) => e.key === "pkg.torch.onnx.name_scopes")?.value;
  const listed = scopes === undefined ? undefined : [...scopes.matchAll(/'([^']*)'/g)].at(-2)?.[1];
  const named = node.name.startsWith("/") ? node.name.slice(1, Math.max(node.name.lastIndexOf("/"), 1)) : "";
  const path = listed || named;
  return path === "" ? undefined : parameterPath(path);
}

/** What the import says of weights named after their readers. */
export function renamingNotes(
  byReader: ReadonlyMap<string, string>,
  parameters: ReadonlyMap<string, unknown>,
): readonly string[] {
  const used = [...byReader].filter(([, path]) => parameters.has(path));
  if (used.length === 0) return [];
  const [[name, path]] = used as [[string, string]];
  const many =
    used.length === 1
      ? "1 weight whose name the exporter made up is"
      : `${used.length} weights whose names the exporter made up are`;
  return [
    `${many} named after the modules that read them, such as "${path}", which is "${shownName(name)}" in the file`,
  ];
}
