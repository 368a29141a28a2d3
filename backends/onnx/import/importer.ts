/** Reads an ONNX model as a graph: walks its nodes in order, computes what is known, and asks each operator's record for the rest. */
import {
  type Dim,
  didYouMean,
  FileError,
  type Graph,
  HeddleError,
  InternalError,
  makeGraph,
  type Node,
  ops,
  symbol,
  UnsupportedError,
  UsageError,
  withoutCapture,
} from "../../../compiler/index.ts";
import { namedDimensions } from "./dimensions.ts";
import { elementType, isNarrow } from "./elements.ts";
import { folded, foldedSizes } from "./folding.ts";
import { inlined } from "./functions.ts";
import { type GraphMessage, type ModelMessage, type NodeMessage, readModel, type TensorMessage } from "./messages.ts";
import { NodeView, type Surroundings } from "./node-view.ts";
import { records } from "./ops/index.ts";
import type { ImportRecord } from "./record.ts";
import { isNumbers, type Known, renamed, tensor, typeOf, type Value, type Weight } from "./values.ts";
import {
  type ExternalReader,
  type FileTensor,
  fileTensor,
  type ImportedParameter,
  knownTensor,
  parameterOf,
  shownName,
} from "./weights.ts";

export interface ImportOptions {
  /** What the graph is called; default what the file says. */
  readonly name?: string;
  /** Numbers for open sizes, or other open sizes that they are the same as, by name. */
  readonly sizes?: Readonly<Record<string, number | string>>;
  /** Inputs that are known now and are no inputs of the graph: their elements by name, in the shape that the file says. */
  readonly constants?: Readonly<Record<string, ArrayLike<number>>>;
  /** Reads what lies in files beside the model. */
  readonly external?: ExternalReader;
}

export interface OnnxImport {
  readonly graph: Graph;
  /** The weights of the file, by the names of the graph's parameters. */
  readonly parameters: ReadonlyMap<string, ImportedParameter>;
  /** For people: what was invented, and what is otherwise than in the file. */
  readonly notes: readonly string[];
  readonly opset: number;
}

/** The opsets whose operators are read. */
export const importedOpsets = { oldest: 7, newest: 28 } as const;

/** Integers of few bits that are more than these are weights, kept as they are. */
const mostInTables = 1024;

/** Tensors of more elements are weights even where they are integers. */
const mostKnown = 2 ** 16;

/**
 * The graph of an ONNX model, with the weights to be read when they are asked for. Throws FileError for bytes that are none,
 * and UnsupportedError naming every operator that is not known with the nodes that have it.
 */
export async function importOnnx(bytes: Uint8Array, options: ImportOptions = {}): Promise<OnnxImport> {
  if (!(bytes instanceof Uint8Array)) throw new UsageError("an ONNX file is given as its bytes, a Uint8Array");
  requireOptions(options);
  const model = readModel(bytes, options.name === undefined ? "the file" : `"${shownName(options.name)}"`);
  const opsets = opsetsOf(model);
  const nodes = inlined(model);
  requireKnown(nodes, model.graph);
  const steering = await fewElements(model.graph, options.external);
  return withoutCapture(() => new Importer(model, opsets, options, steering).run(nodes));
}

const optionNames: Readonly<Record<keyof ImportOptions, true>> = {
  name: true,
  sizes: true,
  constants: true,
  external: true,
};

function requireOptions(options: ImportOptions): void {
  const known = Object.keys(optionNames);
  if (typeof options !== "object" || options === null)
    throw new UsageError(`the options of importOnnx are an object of ${known.join(", ")}, not ${options}`);
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  const told = unknown.map((name) => `importOnnx has no option "${name}"${didYouMean(name, known)}`);
  if (told.length > 0) throw new UsageError(`${told.join("\n")}\n  hint: it has ${known.join(", ")}`);
}

function opsetsOf(model: ModelMessage): ReadonlyMap<string, number> {
  const opsets = new Map(model.opsetImport.map((o) => [o.domain === "ai.onnx" ? "" : o.domain, o.version]));
  const opset = opsets.get("") ?? importedOpsets.newest;
  if (opset >= importedOpsets.oldest && opset <= importedOpsets.newest) return opsets;
  throw new UnsupportedError(
    `the model has opset ${opset}; those from ${importedOpsets.oldest} to ${importedOpsets.newest} are read`,
  );
}

/** What the first node that reads an input calls its dimensions. */
const rolesOf = (graph: GraphMessage, input: string): readonly string[] => {
  const reader = graph.node.find((node) => node.input[0] === input);
  return (reader && recordOf(reader)?.roles) ?? [];
};

/** What the table calls an operator: its type, after its domain where that is not ONNX's own. */
const operatorOf = ({ domain, opType }: NodeMessage): string =>
  domain === "" || domain === "ai.onnx" ? opType : `${domain}.${opType}`;

const recordOf = (node: NodeMessage): ImportRecord | undefined => {
  const name = operatorOf(node);
  return Object.hasOwn(records, name) ? records[name] : undefined;
};

const nodeName = (node: NodeMessage, at: number): string =>
  shownName(node.name || node.output.find((o) => o !== "") || `number ${at}`);

/** Throws UnsupportedError with every operator that no record is of, each with nodes that have it. */
function requireKnown(nodes: readonly NodeMessage[], graph: GraphMessage): void {
  const missing = new Map<string, string[]>();
  const visit = (list: readonly NodeMessage[]) => {
    for (const [at, node] of list.entries()) {
      const name = shownName(operatorOf(node));
      if (!recordOf(node)) missing.set(name, [...(missing.get(name) ?? []), nodeName(node, at)]);
      for (const { g } of node.attribute) if (g) visit(g.node);
    }
  };
  visit(nodes);
  if (graph.sparseInitializer.length > 0)
    missing.set("sparse initializers", [`${graph.sparseInitializer.length} of them`]);
  if (missing.size === 0) return;
  const rows = [...missing].map(([name, where]) => {
    const more = where.length > 3 ? ` and ${where.length - 3} more` : "";
    return `  ${name}: ${where.slice(0, 3).join(", ")}${more}`;
  });
  const shown = rows.slice(0, 50).concat(rows.length > 50 ? [`  and ${rows.length - 50} operators more`] : []);
  throw new UnsupportedError(`heddle has no import of ${missing.size} of the model's operators:\n${shown.join("\n")}`);
}

/** Elements of small tensors that lie in other files: shapes and the like steer operators. */
async function fewElements(graph: GraphMessage, external: ExternalReader | undefined) {
  const read = new Map<TensorMessage, ArrayLike<number>>();
  for (const message of graph.initializer) {
    if (message.dataLocation !== 1) continue;
    const found = fileTensor(message, external);
    const isSetting = !isFloatTensor(found) || found.count <= 64;
    if (isSetting && found.count <= mostKnown) read.set(message, await found.read());
  }
  return read;
}

const isFloatTensor = ({ type }: FileTensor): boolean => type.dtype === "f32" || type.dtype === "f16";

/** Names of values, those of a graph in an attribute after those around it. */
class Names {
  readonly #own = new Map<string, Value>();
  readonly #around: Names | undefined;

  constructor(around?: Names) {
    this.#around = around;
  }

  get(name: string): Value | undefined {
    return this.#own.get(name) ?? this.#around?.get(name);
  }

  set(name: string, value: Value): void {
    this.#own.set(name, value);
  }

  /** Throws FileError for a second value of a name: which of them is meant, runtimes say differently. */
  define(name: string, value: Value): void {
    if (this.#own.has(name)) throw new FileError(`two values of the model are named "${shownName(name)}"`);
    this.set(name, value);
  }
}

class Importer {
  readonly #model: ModelMessage;
  readonly #opsets: ReadonlyMap<string, number>;
  readonly #options: ImportOptions;
  readonly #steering: ReadonlyMap<TensorMessage, ArrayLike<number>>;
  readonly #notes: string[] = [];
  /** The parameter of each weight, and the axes of its dimensions. */
  readonly #declared = new Map<string, { readonly node: Node; readonly axes: readonly (string | undefined)[] }>();
  readonly #paths = new Set<string>();
  readonly #parameters = new Map<string, ImportedParameter>();
  /** Nodes that were read, counting those of graphs in attributes. */
  #visited = 0;

  constructor(
    model: ModelMessage,
    opsets: ReadonlyMap<string, number>,
    options: ImportOptions,
    steering: ReadonlyMap<TensorMessage, ArrayLike<number>>,
  ) {
    this.#model = model;
    this.#opsets = opsets;
    this.#options = options;
    this.#steering = steering;
  }

  run(nodes: readonly NodeMessage[]): OnnxImport {
    const { graph } = this.#model;
    const names = new Names();
    const stored = this.#initializers(graph, names);
    const inputs = this.#inputs(graph, stored, names);
    this.#walk(nodes, names);
    const outputs = this.#outputs(graph, names);
    const made = makeGraph(graphName(this.#options.name ?? graph.name), outputs, inputs);
    const used = new Map([...this.#parameters].filter(([, { node }]) => made.inputs.includes(node)));
    return { graph: made, parameters: used, notes: this.#notes, opset: this.#opsets.get("") ?? importedOpsets.newest };
  }

  #initializers(graph: GraphMessage, names: Names): Set<string> {
    for (const message of graph.initializer) names.define(message.name, this.#storedValue(message, message.name));
    return new Set(graph.initializer.map((m) => m.name));
  }

  /** A tensor of the file: a parameter where it is floats, or too much to be anything else; else what is known. */
  #storedValue(message: TensorMessage, name: string): Value {
    const found = fileTensor(message, this.#options.external);
    const values = this.#steering.get(message) ?? (found.count <= mostKnown ? found.values?.() : undefined);
    const exact = values && knownTensor(found, values);
    if (found.count === 0) return exact ?? knownTensor(found, []);
    const isParameter = isFloatTensor(found) ? found.count > 1 : isNarrow(found.type) && found.count > mostInTables;
    if (!isParameter && exact) return exact;
    const weight: Weight = { name: this.#pathOf(name), read: found.read };
    return { kind: "stored", type: found.type, shape: found.shape, weight, ...(exact && { known: exact }) };
  }

  /** A name of the file as a parameter's path, which no other has. */
  #pathOf(name: string): string {
    const path = parameterPath(name);
    for (let n = 1; ; n++) {
      const own = n === 1 ? path : `${path}_${n}`;
      if (this.#paths.has(own)) continue;
      this.#paths.add(own);
      return own;
    }
  }

  /** Throws UsageError for constants that are no inputs of the file. */
  #requireConstants(graph: GraphMessage, stored: ReadonlySet<string>): void {
    const known = graph.input.map(({ name }) => name).filter((name) => !stored.has(name));
    const unknown = Object.keys(this.#options.constants ?? {}).filter((name) => !known.includes(name));
    const told = unknown.map((name) => `the file has no input "${shownName(name)}"${didYouMean(name, known)}`);
    if (told.length > 0)
      throw new UsageError(
        `${told.join("\n")}\n  hint: constants are inputs of the file: ${known.map(shownName).join(", ") || "it has none"}`,
      );
  }

  #inputs(graph: GraphMessage, stored: ReadonlySet<string>, names: Names): Node[] {
    this.#requireConstants(graph, stored);
    const taken = new Map<string, Dim>();
    const inputs = graph.input.flatMap((info) => {
      if (stored.has(info.name)) return []; // a file before IR version 4 lists its weights
      const given = info.type?.tensorType;
      const name = shownName(info.name);
      if (!given) throw new UnsupportedError(`the input "${name}" is no tensor; only tensors are read`);
      const type = elementType(given.elemType, `the input "${name}"`);
      if ((given.shape?.dim.length ?? 0) > mostDimensions)
        throw new UnsupportedError(`the input "${name}" has too many dimensions`);
      if (!given.shape) throw new UnsupportedError(`the input "${name}" does not say how many dimensions it has`);
      const sizes = given.shape.dim.map((d) => d.dimValue ?? 1);
      if (sizes.includes(0)) {
        this.#notes.push(`the input "${name}" has no elements, and is left out`);
        names.define(info.name, { kind: "known", type, shape: sizes, values: [] });
        return [];
      }
      const { constants } = this.#options;
      if (constants && Object.hasOwn(constants, info.name)) {
        const shape = given.shape.dim.map((d) => d.dimValue ?? 0);
        const values = Array.from(constants[info.name]!, Number);
        const count = shape.reduce((n, d) => n * d, 1);
        if (values.length !== count)
          throw new UsageError(
            `the input "${name}" is [${shape}], and as a constant it is given ${values.length} elements`,
          );
        names.define(info.name, { kind: "known", type, shape, values });
        return [];
      }
      const { axes, notes } = namedDimensions(name, given.shape.dim, rolesOf(graph, info.name), (size) =>
        this.#size(size, taken),
      );
      this.#notes.push(...notes);
      if (type.bits === 64 && type.range)
        this.#notes.push(`the input "${name}" is ${type.name} in the file, and ${type.dtype} here`);
      const shape = axes.map((a) => a.size);
      const node = ops.input(name, type.dtype, axes);
      // A dimension of 1 is no axis inside.
      const inner = axes.filter((a) => a.size === 1).reduce((x, a) => ops.dropAxis(x, a.name), node);
      names.define(
        info.name,
        tensor(
          type,
          shape,
          axes.map((a) => a.name),
          inner,
        ),
      );
      return [node];
    });
    this.#requireSizes([...taken.keys()]);
    return inputs;
  }

  /** Throws UsageError for a size that is told and that the file has not. */
  #requireSizes(known: readonly string[]): void {
    const stray = Object.keys(this.#options.sizes ?? {}).find((name) => !known.includes(name));
    if (stray === undefined) return;
    const has = known.length === 0 ? "none" : known.join(", ");
    throw new UsageError(`the file has no open size "${stray}"${didYouMean(stray, known) || "."} It has ${has}.`);
  }

  /** An open size: what the options say of it, or a symbol. */
  #size(name: string, taken: Map<string, Dim>): Dim {
    const known = taken.get(name);
    if (known !== undefined) return known;
    const given =
      this.#options.sizes && Object.hasOwn(this.#options.sizes, name) ? this.#options.sizes[name] : undefined;
    if (typeof given === "number" && !(Number.isSafeInteger(given) && given >= 1))
      throw new UsageError(`the size "${name}" is ${given}; a whole number from 1 on is needed`);
    const size = typeof given === "number" ? given : symbol(given ?? name);
    taken.set(name, size);
    return size;
  }

  #outputs(graph: GraphMessage, names: Names) {
    const seen = new Set<string>();
    if (graph.output.length === 0) throw new FileError("the model has no outputs");
    return graph.output.map((info) => {
      const name = shownName(info.name);
      if (seen.has(name)) throw new FileError(`two outputs are named "${name}"`);
      seen.add(name);
      const value = names.get(info.name);
      if (!value) throw new FileError(`the output "${name}" is made by no node`);
      const view = new NodeView(
        { name: "", opType: "", domain: "", input: [], output: [], attribute: [] },
        [],
        this.#surroundings(names),
      );
      const x = view.tensor(value);
      const said = (info.type?.tensorType?.shape?.dim ?? []).map((d) => d.denotation);
      return { name, node: asOutput(x.node, x.shape, x.axes, said) };
    });
  }

  #walk(nodes: readonly NodeMessage[], names: Names): void {
    for (const [at, node] of nodes.entries()) {
      this.#visited += 1;
      if (this.#visited > mostNodes) throw new UnsupportedError(`the model comes to more than ${mostNodes} nodes`);
      const made = this.#visit(node, at, names);
      node.output.forEach((output, i) => {
        const value = made[i];
        if (output !== "" && value) names.define(output, value);
      });
    }
  }

  #visit(node: NodeMessage, at: number, names: Names): readonly (Value | undefined)[] {
    const where = () => `node "${nodeName(node, at)}" (${shownName(operatorOf(node))})`;
    try {
      const inputs = node.input.map((name) => {
        if (name === "") return undefined;
        const value = names.get(name);
        if (!value) throw new FileError(`it reads "${shownName(name)}", which nothing before it makes`);
        return value;
      });
      if (operatorOf(node) === "Constant") return [this.#constant(node)];
      const view = new NodeView(node, inputs, this.#surroundings(names));
      return this.#results(recordOf(node)!, view);
    } catch (error) {
      if (error instanceof UnsupportedError) throw new UnsupportedError(`${where()}: ${error.message}`);
      if (error instanceof HeddleError) throw new FileError(`${where()}: ${error.message}`);
      if (error instanceof InternalError) throw error;
      throw new InternalError(`the import of ${where()}: ${(error as Error).stack}`);
    }
  }

  #results(record: ImportRecord, view: NodeView): readonly (Value | undefined)[] {
    const inputs = view.inputs.filter((v) => v !== undefined);
    if (!record.unfolded && inputs.length > 0 && inputs.every((v) => v.kind === "known")) {
      const operands = inputs as Known[];
      const open = operands.some((v) => !isNumbers(v.values));
      const found = open ? foldedSizes(record, view, operands) : folded(record, view);
      if (found) return found;
    }
    const made = record.build(view);
    return Array.isArray(made) ? made : [made as Value];
  }

  #constant(node: NodeMessage): Value {
    const output = node.output[0] ?? "";
    const attribute = node.attribute.find((a) => a.name.startsWith("value"));
    if (attribute?.name === "value" && attribute.t) return this.#storedValue(attribute.t, output);
    return constantOf(attribute);
  }

  #surroundings(names: Names): Surroundings {
    return {
      parameter: (weight, shape, axes, role) => this.#parameter(weight, shape, axes, role),
      opset: (domain) => this.#opsets.get(domain === "ai.onnx" ? "" : domain) ?? importedOpsets.newest,
      subgraph: (graph, inputs) => {
        const inner = new Names(names);
        this.#initializers(graph, inner);
        graph.input.forEach((input, i) => {
          if (inputs[i]) inner.set(input.name, inputs[i]);
        });
        this.#walk(graph.node, inner);
        return graph.output.map(({ name }) => {
          const value = inner.get(name);
          if (!value) throw new FileError(`a graph within gives "${shownName(name)}", which none of its nodes makes`);
          return value;
        });
      },
    };
  }

  #parameter(weight: Weight, shape: readonly Dim[], axes: readonly (string | undefined)[], role?: "buffer"): Node {
    // Dimensions of 1 are no axes, and may be anywhere among the others from one use to the next.
    const own = axes.filter((_, i) => shape[i] !== 1);
    const found = this.#declared.get(weight.name);
    if (found) return renamed(found.node, found.axes, own);
    const type = typeOf({ type: elementType(1, ""), shape }, axes);
    const node = ops.parameter(weight.name, "f32", type.axes, { kind: "normal", mean: 0, std: 0.02 }, role);
    this.#declared.set(weight.name, { node, axes: own });
    this.#parameters.set(weight.name, parameterOf(node, weight));
    return node;
  }
}

/** "/encoder/layer.0/MatMul:weight" as "encoder.layer.0.MatMul_weight": parts of letters, digits and _ between dots. */
const parameterPath = (name: string): string => {
  const parts = shownName(name)
    .split(/[./]+/)
    .map((part) => part.replace(/[^\w-]+/g, "_").replace(/^-/, "_"));
  const path = parts.filter((part) => part !== "").join(".");
  return path === "" ? "weight" : path;
};

/** Dimensions that a tensor may have. */
const mostDimensions = 64;

/** Nodes that a model may come to, graphs within it and functions counted. */
const mostNodes = 200_000;

/** The node with its dimensions in ONNX's order, those of 1 as axes too, under the names that the file says. */
function asOutput(
  node: Node,
  shape: readonly Dim[],
  axes: readonly (string | undefined)[],
  said: readonly string[],
): Node {
  const order: string[] = [];
  const isName = (name: string | undefined, at: number): name is string =>
    name !== undefined && /^[A-Za-z_]\w*$/.test(name) && said.indexOf(name) === at;
  const wanted = shape.map((_, i) => (isName(said[i], i) ? said[i] : undefined));
  for (const [i] of shape.entries()) {
    const own = wanted[i] ?? (wanted.includes(axes[i]) ? undefined : axes[i]) ?? `axis_${i}`;
    let name = own;
    for (let n = 2; order.includes(name) || (wanted.includes(name) && wanted.indexOf(name) !== i); n++)
      name = `${own}_${n}`;
    order.push(name);
  }
  const named = renamed(node, axes, order);
  const ones = shape.flatMap((size, i) => (size === 1 ? [{ name: order[i]!, size: 1 }] : []));
  return ops.transpose(ops.broadcast(named, ones), order);
}

function constantOf(attribute: NodeMessage["attribute"][number] | undefined): Value {
  const { name, f, i, floats, ints } = attribute ?? { name: "", floats: [], ints: [] };
  const [float, integer] = [elementType(1, ""), elementType(7, "")];
  if (name === "value_float" && f !== undefined) return { kind: "known", type: float, shape: [], values: [f] };
  if (name === "value_int" && i !== undefined) return { kind: "known", type: integer, shape: [], values: [i] };
  if (name === "value_floats") return { kind: "known", type: float, shape: [floats.length], values: floats };
  if (name === "value_ints") return { kind: "known", type: integer, shape: [ints.length], values: ints };
  throw new UnsupportedError(
    `its value is ${name === "" ? "missing" : `in "${shownName(name)}"`}, which is no tensor of numbers`,
  );
}

/** A name that the graph's text may have. */
const graphName = (name: string): string => {
  const plain = shownName(name)
    .replace(/\W+/g, "_")
    .replace(/^(?=\d)/, "_")
    .replace(/^_+$/, "");
  return plain === "" ? "model" : plain;
};
