/** Inlines model-local functions. */
import { FileError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { Attribute, FunctionMessage, ModelMessage, NodeMessage } from "./messages.ts";

/** Limits on call depth and on the total number of nodes. */
const [deepest, most] = [16, 200_000];

/** The nodes of a model's graph, with function calls inlined. */
export function inlined(model: ModelMessage): readonly NodeMessage[] {
  if (model.functions.length === 0) return model.graph.node;
  const functions = new Map(model.functions.map((f) => [`${f.domain}.${f.name}`, f]));
  let calls = 0;
  let made = 0;
  const visit = (nodes: readonly NodeMessage[], depth: number): NodeMessage[] =>
    nodes.flatMap((node) => {
      made += 1;
      if (made > most) throw new FileError(`the model's functions expand to more than ${most} nodes`);
      const called = functions.get(`${node.domain}.${node.opType}`);
      if (!called) return [node];
      if (depth === deepest)
        throw new FileError(`the function "${shownName(called.name)}" is nested more than ${deepest} calls deep`);
      calls += 1;
      return visit(bodyOf(called, node, calls), depth + 1);
    });
  return visit(model.graph.node, 0);
}

/** The function body with parameters replaced by the call's names, and internal names made unique. */
function bodyOf(f: FunctionMessage, call: NodeMessage, number: number): NodeMessage[] {
  const names = new Map<string, string>([["", ""]]);
  for (const [i, name] of f.input.entries()) names.set(name, call.input[i] ?? "");
  for (const [i, name] of f.output.entries())
    names.set(name, call.output[i] || `${call.name || f.name}/${number}/${name}`);
  const inner = (name: string): string => {
    if (!names.has(name)) names.set(name, `${call.name || f.name}/${number}/${name}`);
    return names.get(name)!;
  };
  const given = new Map([...f.attributeProto, ...call.attribute].map((a) => [a.name, a]));
  const attribute = (a: Attribute): Attribute[] => {
    if (a.refAttrName === "") return [a];
    const found = given.get(a.refAttrName);
    return found ? [{ ...found, name: a.name }] : [];
  };
  return f.node.map((node) => ({
    ...node,
    input: node.input.map(inner),
    output: node.output.map(inner),
    attribute: node.attribute.flatMap(attribute),
  }));
}
