/**
 * Verifies that kernels, in execution order, read the values that they name: each read comes after the write of its
 * value and before anything overwrites it, including parts of concatenations and states updated in place.
 */

import { addDims, type Dim } from "../ir/dim.ts";
import { type Graph, inputName, isGraphInput } from "../ir/graph.ts";
import type { Node } from "../ir/node.ts";
import { isConcatenation, overwritingOf } from "../ir/op.ts";
import { findAxis } from "../ir/type.ts";
import { type FusedKernel, type Fusion, isResident, isView, type Storage } from "./fused-kernel.ts";
import type { MemoryPlan } from "./plan.ts";

/** The faults in the order or the memory plan of kernels; empty if every read is verified. */
export function verifyReads(
  { graph, kernels, storage }: Fusion & { readonly graph: Graph },
  plan?: MemoryPlan,
): string[] {
  const faults: string[] = [];
  const memory = new Memory(storage, plan);
  kernels.forEach((kernel, i) => {
    for (const value of kernel.reads) {
      const fault = memory.faultOf(value);
      if (fault) faults.push(`kernel ${i} (${describe(kernel)}) reads ${nameOf(value)}, ${fault}`);
    }
    memory.write(kernel);
  });
  for (const { name, node } of graph.outputs) {
    const fault = memory.faultOf(node);
    if (fault) faults.push(`output "${name}" is ${nameOf(node)}, ${fault}`);
  }
  return faults;
}

/** The contents of memory while kernels run. */
class Memory {
  private readonly storage: ReadonlyMap<Node, Storage>;
  private readonly plan: MemoryPlan | undefined;
  /** Values written so far, by where they were written. */
  private readonly written = new Map<Node, Set<string>>();
  /** Roots that no longer hold their initial contents. */
  private readonly changed = new Set<Node>();
  /** The root that each slot holds now. */
  private readonly owners = new Map<number, Node>();
  private readonly ids = new Map<Node, number>();

  constructor(storage: ReadonlyMap<Node, Storage>, plan: MemoryPlan | undefined) {
    this.storage = storage;
    this.plan = plan;
  }

  faultOf(value: Node): string | undefined {
    const at = this.storage.get(value) ?? { root: value };
    if (this.holdsOriginal(value, at)) {
      return this.changed.has(at.root) ? "which an earlier kernel has overwritten" : undefined;
    }
    if (!this.covered(value, at)) return "which no earlier kernel has written";
    const slot = this.slotOf(at.root);
    if (slot === undefined || this.owners.get(slot) === at.root) return undefined;
    return `whose memory (slot ${slot}) holds ${nameOf(this.owners.get(slot)!)} by then`;
  }

  write(kernel: FusedKernel): void {
    for (const { value, to } of kernel.stores) {
      this.changed.add(to.root);
      const known = this.written.get(to.root) ?? new Set();
      this.written.set(to.root, known.add(this.key(value, to)));
      const slot = this.slotOf(to.root);
      if (slot !== undefined) this.owners.set(slot, to.root);
    }
  }

  private slotOf(root: Node): number | undefined {
    const use = this.plan?.buffers.get(root);
    return use?.kind === "slot" ? use.slot : undefined;
  }

  /** Whether a value is in memory from the start: an input, a table, or a range of an input. */
  private holdsOriginal(value: Node, at: Storage): boolean {
    return value === at.root ? isResident(value) : isView(value) && value.operands[0] === at.root;
  }

  /** Whether all elements of a value were written where it is read, as a whole or part by part. */
  private covered(value: Node, at: Storage): boolean {
    if (this.written.get(at.root)?.has(this.key(value, at))) return true;
    const over = overwritingOf(value);
    if (over) {
      const { kept, range, start, axis } = over;
      return at.root === kept && this.covered(range, { root: kept, part: { axis, offset: 0, start } });
    }
    if (!isConcatenation(value)) return false;
    const axis = value.attrs.axis as string;
    if (at.part && at.part.axis !== axis) return false;
    let offset: Dim = at.part?.offset ?? 0;
    return value.operands.every((part) => {
      const here = this.covered(part, { root: at.root, part: { axis, offset } });
      offset = addDims(offset, findAxis(part.type, axis)!.size);
      return here;
    });
  }

  private key(value: Node, { part }: Storage): string {
    const id = this.ids.get(value) ?? this.ids.size;
    this.ids.set(value, id);
    const start = part?.start ? `+${this.key(part.start, { root: part.start })}` : "";
    return part ? `${id}@${part.axis}+${part.offset}${start}` : `${id}`;
  }
}

const nameOf = (node: Node): string =>
  isGraphInput(node) ? `${node.op} "${inputName(node)}"` : `${node.op}${node.path === "" ? "" : ` of ${node.path}`}`;

const describe = ({ kind, stores }: FusedKernel): string =>
  `${kind}, ${stores.map((s) => nameOf(s.value)).join(" and ")}`;
