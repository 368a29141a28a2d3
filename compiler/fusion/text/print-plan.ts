/**
 * Prints fusion plans: the graph with a line for each node, then each kernel with its reads and stores. Comments after
 * // are for readers only: the nodes that a kernel computes, the bytes that fusion saves, and near misses.
 */
import { globMatches } from "../../diagnostics/switches.ts";
import type { Node } from "../../ir/node.ts";
import { sourceOf } from "../../ir/op.ts";
import { printUnrolled } from "../../ir/print.ts";
import { isScalarConstant } from "../../ir/schedule.ts";
import { type FusedKernel, isView, type Part, type Storage } from "../fused-kernel.ts";
import { bytesSaved, computedNodes, kernelName } from "../kernel-nodes.ts";
import type { FusionPlan, PlannedMemory } from "../plan.ts";
import { deviceBytes } from "../sizes.ts";

/** The text that refers to a node: its name, or the value of a scalar constant. */
type Reference = (node: Node) => string;

const referenceIn =
  (names: ReadonlyMap<Node, string>): Reference =>
  (node) =>
    isScalarConstant(node) ? `${node.type.dtype}(${node.attrs.value})` : names.get(node)!;

/** The text of a plan, which `parsePlan` reads back; with a pattern, only the kernels whose names match. */
export function printPlan(plan: FusionPlan, pattern?: string): string {
  const { text, names } = printUnrolled(plan.graph);
  const reference = referenceIn(names);
  const kernels = plan.kernels.flatMap((kernel, i) =>
    pattern === undefined || globMatches(pattern, kernelName(kernel)) ? kernelLines(kernel, i, reference) : [],
  );
  if (pattern !== undefined) return `${kernels.join("\n")}\n`;
  const lines = [...kernels, ...storageLines(plan, reference), ...missLines(plan, reference)];
  return `${text}\nplan {\n${lines.map((l) => `  ${l}`).join("\n")}\n}\n`;
}

function kernelLines(kernel: FusedKernel, i: number, reference: Reference): string[] {
  const { kind, group, axes, stores, reads, siblings = [], epilogues = [], prologues = [], partWidth } = kernel;
  const piece = ({ group: own, reads: of }: FusedKernel) =>
    `group ${own!.position} reads ${[...of].map(reference).join(", ")}`;
  const space = group ? `group ${group.position}` : `over [${axes.map((a) => a.name).join(", ")}]`;
  const saved = bytesSaved(kernel);
  return [
    `kernel ${kind} ${space} { // ${i} "${kernelName(kernel)}"${saved === 0 ? "" : `, saves ${saved} bytes`}`,
    `  // computes ${computedNodes(kernel).map(reference).join(", ")}`,
    ...(reads.size > 0 ? [`  reads ${[...reads].map(reference).join(", ")}`] : []),
    ...siblings.map((s) => `  sibling ${piece(s)}`),
    ...epilogues.map((e) => `  epilogue ${piece(e)}${partWidth ? ` by ${partWidth}` : ""}`),
    ...prologues.map((p) => `  prologue ${piece(p)} keeps ${p.stores.map((s) => reference(s.value)).join(", ")}`),
    ...stores.map(
      ({ value, to }) =>
        `  stores ${reference(value)}${placeText(value, to, reference)} // ${deviceBytes(value)} bytes`,
    ),
    "}",
  ];
}

/** Where a value is stored, if not in a tensor of its own. */
function placeText(value: Node, { root, part }: Storage, reference: Reference): string {
  if (root === value && !part) return "";
  return ` in ${reference(root)}${part ? partText(part, reference) : ""}`;
}

const partText = ({ axis, offset, start }: Part, reference: Reference): string =>
  ` axis ${axis} at ${offset}${start ? ` from ${reference(start)}` : ""}`;

/** Lines for values that are not read from the place of their first store. */
function storageLines({ kernels, storage }: FusionPlan, reference: Reference): string[] {
  const implied = impliedStorage(kernels);
  return [...storage].flatMap(([value, at]) => {
    const known = implied.get(value);
    const same =
      known?.root === at.root && known.part?.offset === at.part?.offset && known.part?.axis === at.part?.axis;
    return same ? [] : [`${reference(value)} lies${placeText(value, at, reference) || " by itself"}`];
  });
}

/** The default storage of values: the place of their first store; for tensors made of parts, a tensor of their own. */
export function impliedStorage(kernels: readonly FusedKernel[]): Map<Node, Storage> {
  const storage = new Map<Node, Storage>();
  // A value that overwrites a range of a state is only ever read as part of that state.
  const stores = kernels.flatMap((k) => k.stores.filter((s) => !s.to.part?.start));
  for (const { value, to } of stores) if (isMade(value) && !storage.has(value)) storage.set(value, to);
  for (const { to } of stores) if (isMade(to.root) && !storage.has(to.root)) storage.set(to.root, { root: to.root });
  return storage;
}

/** True for computed values, false for inputs, their ranges and constants. */
const isMade = (node: Node): boolean => sourceOf(node) === undefined && !isView(node);

const missLines = ({ misses }: FusionPlan, reference: Reference): string[] =>
  misses.map(({ node, reason }) => `// near miss: ${reference(node)} is read from memory: ${reason}`);

/** The text of a plan with its memory: the sizes of slots, the slot of each tensor, and the copies at the end. */
export function printMemory(planned: PlannedMemory): string {
  const { text, names } = printUnrolled(planned.graph);
  const reference = referenceIn(names);
  const { buffers, slots, copies } = planned.plan;
  const place = (use: { kind: string; slot?: number; node?: Node }) =>
    use.kind === "slot" ? `slot ${use.slot}` : reference(use.node!);
  const sizes = (dims: readonly unknown[]) => (dims.length === 1 ? `${dims[0]}` : `max(${dims.join(", ")})`);
  const lines = [
    ...slots.map((tensors, i) => `slot ${i}: ${sizes(tensors)} bytes`),
    ...[...buffers].flatMap(([root, use]) =>
      use.kind === "slot" ? [`${reference(root)} in slot ${use.slot} // ${deviceBytes(root)} bytes`] : [],
    ),
    ...copies.map(
      ({ from, to, bytes }) => `copy ${place(from)} to ${place(to)} // ${bytes} bytes, when all kernels are done`,
    ),
  ];
  return `${text}\nmemory {\n${lines.map((l) => `  ${l}`).join("\n")}\n}\n`;
}
