/**
 * Checks nodes against the signatures of their operators: what onnxruntime refuses should not be read as something
 * else.
 */
import { didYouMean, FileError } from "../../../../compiler/index.ts";
import { attributeTypeFault } from "../attributes.ts";
import { shownName } from "../file-names.ts";
import type { GraphMessage, NodeMessage } from "../messages.ts";
import { nodeName, operatorOf } from "../operators.ts";
import type { Operand } from "../values.ts";
import { type Parameter, type Side, type Signature, signaturesOf } from "./parse.ts";

/** How many faults one error lists. */
const mostListed = 20;

/** Throws FileError listing every node whose inputs, outputs or attributes its operator does not have at this opset. */
export function requireSignatures(graph: GraphMessage, opset: (domain: string) => number): void {
  const faults: string[] = [];
  const visit = (nodes: readonly NodeMessage[]) => {
    for (const [at, node] of nodes.entries()) {
      const where = `node "${nodeName(node, at)}" (${shownName(operatorOf(node))})`;
      faults.push(...faultsOf(node, node.opset ?? opset(node.domain)).map((fault) => `${where}: ${fault}`));
      for (const { g } of node.attribute) if (g) visit(g.node);
    }
  };
  visit(graph.node);
  if (faults.length === 0) return;
  const rest = faults.length > mostListed ? [`and ${faults.length - mostListed} more`] : [];
  throw new FileError([...faults.slice(0, mostListed), ...rest].join("\n"));
}

function faultsOf(node: NodeMessage, opset: number): string[] {
  const all = signaturesOf(operatorOf(node));
  if (all.length === 0) return [];
  const signature = all.findLast(({ since }) => since <= opset);
  const has = `and ${node.opset === undefined ? "the model" : "its function"} has opset ${opset}`;
  if (!signature) return [`the operator exists from opset ${all[0]!.since} on, ${has}`];
  if (signature.deprecated) return [`the operator was removed in opset ${signature.since}, ${has}`];
  return [
    ...countFaults(node.input, signature.inputs, "input"),
    ...countFaults(node.output, signature.outputs, "output"),
    ...attributeFaults(node, signature),
  ];
}

function countFaults(names: readonly string[], { parameters, fewest, most }: Side, what: string): string[] {
  const numbers = (n: number) => `${n} ${what}${n === 1 ? "" : "s"}`;
  if (names.length > most) return [`it has ${numbers(names.length)}; expected at most ${most}`];
  if (names.length < fewest) return [`it has ${numbers(names.length)}; expected at least ${fewest}`];
  if (what === "output") return []; // an unnamed output is one that nobody reads
  return parameters.flatMap(({ kind }, i) => (kind === "single" && names[i] === "" ? [`input ${i} is missing`] : []));
}

/** Tools may add attributes whose names begin with "__" to any node: the ONNX checker skips them. */
const isAnnotation = (name: string): boolean => name.startsWith("__");

function attributeFaults(node: NodeMessage, { attributes }: Signature): string[] {
  const seen = new Set<string>();
  const faults = node.attribute.flatMap((given) => {
    if (isAnnotation(given.name)) return [];
    const known = attributes.get(given.name);
    const name = shownName(given.name);
    if (!known) return [`the operator has no attribute "${name}"${didYouMean(given.name, [...attributes.keys()])}`];
    if (seen.has(given.name)) return [`the attribute ${name} is given twice`];
    seen.add(given.name);
    return (known.type && attributeTypeFault(given, known.type)) ?? [];
  });
  const missing = [...attributes].filter(([name, { required }]) => required && !seen.has(name));
  return [...faults, ...missing.map(([name]) => `the attribute ${name} is missing`)];
}

/** Throws FileError for operands of types that the operator does not take at this opset. */
export function requireTypes(node: NodeMessage, operands: readonly (Operand | undefined)[], opset: number): void {
  const signature = signaturesOf(operatorOf(node)).findLast(({ since }) => since <= opset);
  if (!signature) return;
  const bound = new Map<string, { readonly type: string; readonly input: number }>();
  for (const [i, operand] of operands.entries()) {
    const parameter = signature.inputs.parameters[i] ?? signature.inputs.parameters.at(-1);
    // Records say themselves where a sequence stands for a tensor, or a tensor for a sequence.
    const isTensor = operand && operand.kind !== "sequence" && parameter?.types.some((type) => type !== "sequence");
    if (isTensor) requireType(i, operand.type.name, parameter!, bound);
  }
}

function requireType(
  input: number,
  type: string,
  { variable, types, alike }: Parameter,
  bound: Map<string, { readonly type: string; readonly input: number }>,
): void {
  if (!types.includes(type))
    throw new FileError(`input ${input} is ${type}; expected ${types.join(", ").replace(/, (?=[^,]*$)/, " or ")}`);
  if (variable === undefined || !alike) return;
  const before = bound.get(variable);
  if (!before) bound.set(variable, { type, input });
  else if (before.type !== type)
    throw new FileError(
      `input ${before.input} is ${before.type} and input ${input} ${type}; expected one type for both`,
    );
}
