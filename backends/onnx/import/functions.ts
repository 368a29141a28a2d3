/** Inlines model-local functions. */
import { FileError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { Attribute, FunctionMessage, GraphMessage, ModelMessage, NodeMessage } from "./messages.ts";
import { domainOf, opsetsOf } from "./operators.ts";

/** Limits on call depth and on the total number of nodes. */
const [deepest, most] = [16, 200_000];

/** The nodes of a model's graph, with function calls inlined, also in subgraphs. Throws FileError for a wrong call. */
export function inlined(model: ModelMessage): readonly NodeMessage[] {
  if (model.functions.length === 0) return model.graph.node;
  const functions = byKey(model.functions);
  let calls = 0;
  let made = 0;
  const visit = (nodes: readonly NodeMessage[], depth: number): NodeMessage[] =>
    nodes.flatMap((node) => {
      made += 1;
      if (made > most) throw new FileError(`the model's functions expand to more than ${most} nodes`);
      const called = functions.get(keyOf(node, node.opType));
      if (!called) return [withSubgraphs(node, (graph) => ({ ...graph, node: visit(graph.node, depth) }))];
      requireCall(called, node);
      if (depth === deepest)
        throw new FileError(`the function "${shownName(called.name)}" is nested more than ${deepest} calls deep`);
      calls += 1;
      return visit(bodyOf(called, node, calls), depth + 1);
    });
  return visit(model.graph.node, 0);
}

/** Functions may share a name if their overloads differ. */
const keyOf = ({ domain, overload }: { readonly domain: string; readonly overload: string }, name: string): string =>
  JSON.stringify([domainOf(domain), name, overload]);

function byKey(functions: readonly FunctionMessage[]): ReadonlyMap<string, FunctionMessage> {
  const found = new Map<string, FunctionMessage>();
  for (const f of functions) {
    const key = keyOf(f, f.name);
    if (found.has(key)) throw new FileError(`the model has two functions named "${nameOf(f)}"`);
    found.set(key, f);
  }
  return found;
}

const nameOf = ({ domain, name }: FunctionMessage): string => shownName(domain === "" ? name : `${domain}.${name}`);

function requireCall(f: FunctionMessage, call: NodeMessage): void {
  const where = `node "${shownName(call.name || (call.output[0] ?? ""))}"`;
  for (const what of ["input", "output"] as const)
    if (call[what].length > f[what].length)
      throw new FileError(
        `${where} has ${call[what].length} ${what}s; the function "${nameOf(f)}" that it calls has ${f[what].length}`,
      );
}

/** What a function's body is written with, in a call. */
interface Call {
  /** The function's opsets, by domain. */
  readonly opsets: ReadonlyMap<string, number>;
  /** The name for one of the body. */
  readonly rename: (name: string) => string;
  /** The attributes for one of a node of the body, which may refer to the function's. */
  readonly attribute: (a: Attribute) => readonly Attribute[];
}

/** The function body with parameters replaced by the call's names, and internal names made unique. */
function bodyOf(f: FunctionMessage, call: NodeMessage, number: number): NodeMessage[] {
  const names = new Map<string, string>([["", ""]]);
  for (const [i, name] of f.input.entries()) names.set(name, call.input[i] ?? "");
  const own = (name: string) => `${call.name || f.name}/${number}/${name}`;
  const passed = f.output.flatMap((name, i) => {
    const [made, to] = [names.get(name), call.output[i] ?? ""];
    if (made !== undefined) return to === "" ? [] : [identity(made, to)];
    names.set(name, to || own(name));
    return [];
  });
  const given = new Map([...f.attributeProto, ...call.attribute].map((a) => [a.name, a]));
  const body = writtenWith(f.node, {
    opsets: opsetsOf(f.opsetImport, () => `the function "${nameOf(f)}"`),
    rename: (name) => names.get(name) ?? own(name),
    attribute: (a) => {
      if (a.refAttrName === "") return [a];
      const found = given.get(a.refAttrName);
      return found ? [{ ...found, name: a.name }] : [];
    },
  });
  return [...body, ...passed];
}

/** The node that gives an output of a call the value of one of the function's inputs, or of an earlier output. */
const identity = (from: string, to: string): NodeMessage => ({
  ...{ name: "", opType: "Identity", domain: "", overload: "", attribute: [], metadataProps: [] },
  ...{ input: [from], output: [to] },
});

/** Nodes of a body, and what is inside their subgraphs: those read names of the body. */
const writtenWith = (nodes: readonly NodeMessage[], call: Call): NodeMessage[] =>
  nodes.map((node) => {
    const inside = withSubgraphs(node, (graph) => {
      const renamed = <T extends { readonly name: string }>(all: readonly T[]): T[] =>
        all.map((one) => ({ ...one, name: call.rename(one.name) }));
      return {
        ...graph,
        node: writtenWith(graph.node, call),
        initializer: renamed(graph.initializer),
        input: renamed(graph.input),
        output: renamed(graph.output),
      };
    });
    // Last, since the subgraphs that the call gives have names of its own.
    const attribute = inside.attribute.flatMap(call.attribute);
    const opset = call.opsets.get(domainOf(node.domain));
    return {
      ...{ ...node, input: node.input.map(call.rename), output: node.output.map(call.rename), attribute },
      ...(opset !== undefined && { opset }),
    };
  });

const withSubgraphs = (node: NodeMessage, change: (graph: GraphMessage) => GraphMessage): NodeMessage =>
  node.attribute.some(({ g }) => g)
    ? { ...node, attribute: node.attribute.map((a) => (a.g ? { ...a, g: change(a.g) } : a)) }
    : node;
