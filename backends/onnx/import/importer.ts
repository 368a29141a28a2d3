/** Imports an ONNX model: walks its nodes in order, folds constants, and builds the rest by each operator's record. */
import {
  type Dim,
  FileError,
  HeddleError,
  InternalError,
  makeGraph,
  type Node,
  ops,
  UnsupportedError,
  UsageError,
  withoutCapture,
} from "../../../compiler/index.ts";
import { DataDependentError } from "./data-dependent.ts";
import { elementType } from "./elements.ts";
import { graphName, InterfaceNames, shownName } from "./file-names.ts";
import { folded, foldedSizes } from "./folding.ts";
import { inlined } from "./functions.ts";
import { readInputs } from "./inputs.ts";
import { readingFloats } from "./integer-forms.ts";
import { type GraphMessage, type ModelMessage, type NodeMessage, readModel } from "./messages.ts";
import { neededGraph } from "./needed.ts";
import { inOrder } from "./node-order.ts";
import { NodeView, type Surroundings } from "./node-view.ts";
import { nodeName, operatorOf, opsetIn, opsetsOf, recordOf } from "./operators.ts";
import { type ImportOptions, type OnnxImport, requireOptions } from "./options.ts";
import { asOutput } from "./outputs.ts";
import type { ImportRecord } from "./record.ts";
import { Names } from "./scope.ts";
import { requireSignatures, requireTypes } from "./signatures/check.ts";
import { constantOf, fewElements, hasWeights, StoredTensors } from "./stored.ts";
import { withTies } from "./tied-weights.ts";
import { RefusedNodes, requireKnown } from "./unsupported.ts";
import { isNumbers, type Known, type Operand, renamed, typeOf, type Value, type Weight } from "./values.ts";
import { pathsByReader, renamingNotes } from "./weight-names.ts";
import { type ImportedParameter, parameterOf } from "./weights.ts";

/**
 * Imports an ONNX model as a graph; weights are read on demand. Throws FileError for bytes that are not an ONNX model,
 * and UnsupportedError naming every unsupported operator with the nodes that use it.
 */
export async function importOnnx(bytes: Uint8Array, options: ImportOptions = {}): Promise<OnnxImport> {
  if (!(bytes instanceof Uint8Array)) throw new UsageError("an ONNX file must be passed as its bytes, a Uint8Array");
  requireOptions(options);
  const read = readModel(bytes, options.name === undefined ? "the file" : `"${shownName(options.name)}"`);
  const ordered = { ...read, graph: { ...read.graph, node: inOrder(read.graph.node) } };
  const opsets = opsetsOf(ordered.opsetImport);
  const needed = neededGraph({ ...ordered.graph, node: inlined(ordered) }, options.outputs);
  const model = { ...ordered, graph: await withTies(needed, options.external) };
  requireKnown(model.graph);
  requireSignatures(model.graph, (domain) => opsetIn(opsets, domain));
  const nodes = readingFloats(model.graph.node, model.graph);
  const byReader = pathsByReader(model.graph);
  const stored = new StoredTensors(options.external, await fewElements(model.graph, options.external), byReader);
  const made = withoutCapture(() => new Importer(model, opsets, options, stored).run(nodes));
  return { ...made, notes: [...made.notes, ...renamingNotes(byReader, made.parameters)] };
}

class Importer {
  readonly #model: ModelMessage;
  readonly #opsets: ReadonlyMap<string, number>;
  readonly #options: ImportOptions;
  readonly #stored: StoredTensors;
  /** The parameter of each weight, and the axis of each dimension. */
  readonly #declared = new Map<string, { readonly node: Node; readonly axes: readonly (string | undefined)[] }>();
  readonly #parameters = new Map<string, ImportedParameter>();
  /** Where results come from that their operator's record does not make. */
  readonly #unmade = new Map<string, string>();
  /** Nodes visited, including those of subgraphs. */
  #visited = 0;

  constructor(model: ModelMessage, opsets: ReadonlyMap<string, number>, options: ImportOptions, stored: StoredTensors) {
    this.#model = model;
    this.#opsets = opsets;
    this.#options = options;
    this.#stored = stored;
  }

  run(nodes: readonly NodeMessage[]): OnnxImport {
    const { graph } = this.#model;
    const names = new Names();
    const stored = this.#initializers(graph, names);
    const inputs = readInputs(graph, stored, this.#options, names);
    const refused = new RefusedNodes();
    this.#walk(nodes, names, refused);
    refused.requireNone(graph);
    const results = new InterfaceNames(
      "output",
      graph.output.map((o) => o.name),
    );
    const outputs = this.#outputs(graph, names, results);
    const made = makeGraph(graphName(this.#options.name ?? graph.name), outputs, inputs.nodes);
    const used = new Map([...this.#parameters].filter(([, { node }]) => made.inputs.includes(node)));
    return {
      graph: made,
      parameters: used,
      notes: [...inputs.notes, ...results.notes],
      opset: opsetIn(this.#opsets, ""),
    };
  }

  #initializers(graph: GraphMessage, names: Names): Set<string> {
    for (const message of graph.initializer) names.define(message.name, this.#stored.value(message, message.name));
    return new Set(graph.initializer.map((m) => m.name));
  }

  #outputs(graph: GraphMessage, names: Names, results: InterfaceNames) {
    if (graph.output.length === 0) throw new FileError("the model has no outputs");
    // The exporter of PyTorch lists a value once for each place in the results where the model returns it.
    const listed = new Map(graph.output.map((info) => [info.name, info]));
    return [...listed.values()].map((info) => {
      const name = shownName(info.name);
      const value = names.get(info.name);
      if (!value) throw this.#missing(info.name, `no node produces the output "${name}"`, `the output "${name}" is`);
      const view = new NodeView(
        { name: "", opType: "", domain: "", overload: "", input: [], output: [], attribute: [], metadataProps: [] },
        [],
        this.#surroundings(names),
      );
      if (value.kind === "sequence")
        throw new UnsupportedError(
          `the output "${name}" is a sequence of ${value.items.length} tensors; only tensors can be outputs: name others (--outputs, or the option outputs)`,
        );
      const declared = info.type?.tensorType?.elemType ?? 0;
      if (declared !== 0 && elementType(declared, `the output "${name}"`).name !== value.type.name)
        throw new FileError(
          `the output "${name}" is declared as ${elementType(declared, "").name}, but its node gives ${value.type.name}`,
        );
      const x = view.tensor(value);
      const said = (info.type?.tensorType?.shape?.dim ?? []).map((d) => d.denotation);
      return { name: results.of(info.name), node: asOutput(x.node, x.shape, x.axes, said) };
    });
  }

  /**
   * Defines the results of nodes. Those that are not supported go to `refused`, if it is given; else they are thrown.
   */
  #walk(nodes: readonly NodeMessage[], names: Names, refused?: RefusedNodes): void {
    for (const [at, node] of nodes.entries()) {
      this.#visited += 1;
      if (this.#visited > mostNodes) throw new UnsupportedError(`the model expands to more than ${mostNodes} nodes`);
      if (refused?.isNeededBy(node)) continue;
      const made = this.#attempt(node, at, names, refused);
      node.output.forEach((output, i) => {
        const value = made[i];
        if (output !== "" && value) names.define(output, value);
        else if (output !== "") this.#unmade.set(output, `output ${i} of ${whereOf(node, at)}`);
      });
    }
  }

  /**
   * For a value that is not defined: its node's operator may have it where heddle's record of the operator does not.
   */
  #missing(name: string, why: string, reads: string): HeddleError {
    const from = this.#unmade.get(name);
    return from === undefined ? new FileError(why) : new UnsupportedError(`${reads} ${from}, which is not supported`);
  }

  #attempt(node: NodeMessage, at: number, names: Names, refused?: RefusedNodes): readonly (Operand | undefined)[] {
    try {
      return this.#visit(node, at, names);
    } catch (error) {
      if (!(refused && error instanceof UnsupportedError)) throw error;
      refused.add(node, error);
      return [];
    }
  }

  #visit(node: NodeMessage, at: number, names: Names): readonly (Operand | undefined)[] {
    const where = () => whereOf(node, at);
    try {
      const inputs = node.input.map((name) => {
        if (name === "") return undefined;
        const value = names.get(name);
        const reads = `it reads "${shownName(name)}",`;
        if (!value) throw this.#missing(name, `${reads} which no earlier node produces`, reads);
        return value;
      });
      if (operatorOf(node) === "Constant") return [this.#constant(node)];
      const view = new NodeView(node, inputs, this.#surroundings(names));
      requireTypes(node, inputs, view.opset);
      const record = recordOf(node)!;
      const list = inputs.findIndex((value) => value?.kind === "sequence");
      if (list >= 0 && !record.sequences) view.in(list); // throws
      return this.#results(record, view);
    } catch (error) {
      if (error instanceof DataDependentError)
        throw new DataDependentError(`${where()}: ${error.message}`, { cause: error });
      if (error instanceof UnsupportedError)
        throw new UnsupportedError(`${where()}: ${error.message}`, { cause: error });
      if (error instanceof HeddleError) throw new FileError(`${where()}: ${error.message}`);
      if (error instanceof InternalError) throw error;
      throw new InternalError(`the import of ${where()}: ${(error as Error).stack}`);
    }
  }

  #results(record: ImportRecord, view: NodeView): readonly (Operand | undefined)[] {
    const inputs = view.operands.filter((v) => v !== undefined);
    if (!record.unfolded && inputs.length > 0 && inputs.every((v) => v.kind === "known")) {
      const operands = inputs as Known[];
      const open = operands.some((v) => !isNumbers(v.values));
      const found = open ? foldedSizes(record, view, operands) : folded(record, view);
      if (found) return found;
    }
    const made = record.build(view);
    return Array.isArray(made) ? made : [made as Operand];
  }

  #constant(node: NodeMessage): Value {
    const output = node.output[0] ?? "";
    const attribute = node.attribute.find((a) => a.name.startsWith("value"));
    // Where weights are initializers, constants are what they are called: zeros of a first state, masks, tables.
    const role = hasWeights(this.#model.graph) ? "buffer" : undefined;
    if (attribute?.name === "value" && attribute.t) return this.#stored.value(attribute.t, output, role);
    return constantOf(attribute);
  }

  #surroundings(names: Names): Surroundings {
    return {
      parameter: (weight, shape, axes, role) => this.#parameter(weight, shape, axes, role),
      opset: (domain) => opsetIn(this.#opsets, domain),
      subgraph: (graph, inputs) => {
        const inner = new Names(names);
        this.#initializers(graph, inner);
        graph.input.forEach((input, i) => {
          if (inputs[i]) inner.set(input.name, inputs[i]);
        });
        this.#walk(inOrder(graph.node), inner);
        return graph.output.map(({ name }) => {
          const value = inner.get(name);
          if (!value) throw new FileError(`a subgraph returns "${shownName(name)}", which none of its nodes produces`);
          return value;
        });
      },
    };
  }

  #parameter(weight: Weight, shape: readonly Dim[], axes: readonly (string | undefined)[], role?: "buffer"): Node {
    // Size-1 dimensions have no axes, and their positions may differ between uses.
    const own = axes.filter((_, i) => shape[i] !== 1);
    const key = JSON.stringify([weight.name, weight.form]);
    const found = this.#declared.get(key);
    if (found) return renamed(found.node, found.axes, own);
    // A tensor used both as integers and as dequantized floats becomes two parameters; a small one of integers, which
    // was a constant until now, has no path yet.
    const isNamed = this.#stored.isPath(weight.name) && !this.#parameters.has(weight.name);
    const name = isNamed ? weight.name : this.#stored.pathOf(weight.name);
    const type = typeOf({ type: elementType(1, ""), shape }, axes);
    const node = ops.parameter(name, "f32", type.axes, { kind: "normal", mean: 0, std: 0.02 }, role);
    this.#declared.set(key, { node, axes: own });
    this.#parameters.set(name, parameterOf(node, weight));
    return node;
  }
}

const whereOf = (node: NodeMessage, at: number): string =>
  `node "${nodeName(node, at)}" (${shownName(operatorOf(node))})`;

/** Limit on a model's nodes, including subgraphs and inlined functions. */
const mostNodes = 200_000;
