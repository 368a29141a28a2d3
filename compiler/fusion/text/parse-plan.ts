/** Parses a fusion plan; reports all mistakes in the text at once. */
import { GraphTextError } from "../../diagnostics/error.ts";
import { type Mistake, renderMistakes } from "../../diagnostics/render.ts";
import { addDims, type Dim } from "../../ir/dim.ts";
import { type DType, dtypes } from "../../ir/dtype.ts";
import { type Graph, nodesOf } from "../../ir/graph.ts";
import type { Node } from "../../ir/node.ts";
import { indexMapOf, isConcatenation } from "../../ir/op.ts";
import { checkGraphText } from "../../ir/parse.ts";
import { type Axis, findAxis } from "../../ir/type.ts";
import { type KernelKind, kernelKinds } from "../../kernel/index.ts";
import { scalarConstant } from "../../ops/index.ts";
import { type FusedKernel, keptStore, type Storage, type Store } from "../fused-kernel.ts";
import type { Group, Placement } from "../groups.ts";
import { placeNodes } from "../place-nodes.ts";
import type { FusionPlan } from "../plan.ts";
import { impliedStorage } from "./print-plan.ts";

/** Parses a plan; throws GraphTextError with every mistake, each with its location, source line and carets. */
export function parsePlan(text: string, fileName = "(text)"): FusionPlan {
  const lines = text.split("\n");
  const start = lines.findIndex((l) => /^plan\s*\{\s*$/.test(l));
  const graphText = (start < 0 ? lines : lines.slice(0, start)).join("\n");
  const parsed = checkGraphText(graphText, fileName);
  const reader = new PlanReader(lines, start + 1, parsed.graph, parsed.graph ? parsed.values : new Map());
  if (start < 0) reader.fault(lines.length, 1, 1, "the text ends without a plan: after the graph, plan { is expected");
  const plan = reader.read();
  const mistakes = [...parsed.mistakes, ...(parsed.graph ? reader.mistakes : [])];
  if (plan && mistakes.length === 0) return plan;
  throw new GraphTextError(renderMistakes(fileName, text, mistakes));
}

/** A partly parsed kernel. */
interface Draft {
  readonly kind: KernelKind;
  readonly group?: Group;
  readonly axes: readonly string[];
  readonly stores: Store[];
  readonly reads: Set<Node>;
  /** Groups of column sums in the same dispatch, with their reads. */
  readonly siblings: Piece[];
  /** Groups of epilogue reductions. */
  readonly epilogues: Piece[];
  /** Groups of prologue reductions. */
  readonly prologues: Piece[];
}

interface Piece {
  readonly group: Group;
  readonly reads: Set<Node>;
  /** Elements of each part of a row that it reduces. */
  readonly by?: number;
  /** Results that stay in the workgroup. */
  readonly keeps?: readonly Node[];
}

class PlanReader {
  readonly mistakes: Mistake[] = [];
  private readonly lines: readonly string[];
  private readonly first: number;
  private readonly graph: Graph | undefined;
  private readonly values: ReadonlyMap<string, Node>;
  private readonly offsets: ReadonlyMap<string, Dim>;
  private at = 0;

  constructor(lines: readonly string[], first: number, graph: Graph | undefined, values: ReadonlyMap<string, Node>) {
    this.lines = lines;
    this.first = first;
    this.graph = graph;
    this.values = values;
    this.offsets = graph ? knownOffsets(graph) : new Map();
  }

  fault(line: number, column: number, length: number, message: string): void {
    this.mistakes.push({ line, column, length, message });
  }

  read(): FusionPlan | undefined {
    const { graph } = this;
    if (!graph) return undefined;
    const { places, groups } = placeNodes(nodesOf(graph));
    const kernels: FusedKernel[] = [];
    const moved = new Map<Node, Storage>();
    let draft: Draft | undefined;
    for (this.at = this.first; this.at < this.lines.length; this.at++) {
      const line = this.lines[this.at]!.replace(/\s*\/\/.*$/, "").trim();
      if (line === "") continue;
      if (line === "}") {
        if (!draft) return { graph, places, kernels, storage: this.storageOf(kernels, moved), misses: [] };
        kernels.push(this.finished(draft, places));
        draft = undefined;
        continue;
      }
      const [word = "", rest = ""] = /^(\S+)\s*(.*)$/.exec(line)!.slice(1);
      if (word === "kernel" && !draft) draft = this.kernel(rest, groups);
      else if (word === "reads" && draft) for (const r of rest.split(",")) this.into(draft.reads, this.value(r.trim()));
      else if (word === "stores" && draft) this.store(draft, rest);
      else if ((word === "sibling" || word === "epilogue" || word === "prologue") && draft)
        this.piece(draft[`${word}s`], rest, groups);
      else if (/\blies\b/.test(line) && !draft) this.lies(moved, line);
      else
        this.wrong(
          word,
          draft ? "reads, stores, sibling, epilogue, prologue or }" : "kernel, %value lies in %other, or }",
        );
    }
    this.fault(this.lines.length, 1, 1, draft ? "a kernel has no end: }" : "the plan has no end: }");
    return undefined;
  }

  private into(set: Set<Node>, node: Node | undefined): void {
    if (node) set.add(node);
  }

  private wrong(word: string, wanted: string): void {
    const line = this.lines[this.at]!;
    const column = Math.max(0, line.indexOf(word)) + 1;
    this.fault(this.at + 1, column, word.length, `${wanted} is expected, but there is "${word}"`);
  }

  private kernel(rest: string, groups: readonly Group[]): Draft {
    const [kind = "", how = "", what = ""] = /^(\S+)\s+(group|over)\s+(.*?)\s*\{$/.exec(rest)?.slice(1) ?? [];
    const draft = { stores: [], reads: new Set<Node>(), siblings: [], epilogues: [], prologues: [] };
    const known = kernelKinds.find((k) => k === kind);
    if (!known) this.wrong(rest.split(" ")[0]!, `a kind of kernel with its group or axes (${kernelKinds.join(", ")})`);
    if (how === "over") return { ...draft, kind: known ?? "elementwise", axes: namesIn(what) };
    const group = groups[Number(what)];
    if (known && (!group || group.kind !== known))
      this.wrong(what, `the number of a ${known} of this graph (there are ${groups.length} groups)`);
    return { ...draft, kind: known ?? "elementwise", axes: [], ...(group && { group }) };
  }

  private store(draft: Draft, rest: string): void {
    const [name = "", place = ""] = /^(\S+)\s*(.*)$/.exec(rest)?.slice(1) ?? [];
    const value = this.value(name);
    const to = value && this.place(value, place);
    if (value && to) draft.stores.push({ value, to });
  }

  /** `group 3 reads %1, %2`, then for parts of rows `by 64`, for results that stay in a workgroup `keeps %3` */
  private piece(pieces: Piece[], rest: string, groups: readonly Group[]): void {
    const [position = "", list = "", by, kept] =
      /^group (\d+) reads (.+?)(?: by (\d+))?(?: keeps (.+))?$/.exec(rest)?.slice(1) ?? [];
    const group = groups[Number(position || Number.NaN)];
    if (group?.kind !== "row_reduction") {
      this.wrong(rest.split(" ")[0]!, `the number of a row_reduction of this graph, and what it reads`);
      return;
    }
    const reads = new Set<Node>();
    for (const r of list.split(",")) this.into(reads, this.value(r.trim()));
    const keeps = (kept?.split(",") ?? []).flatMap((r) => this.value(r.trim()) ?? []);
    pieces.push({ group, reads, ...(by && { by: Number(by) }), ...(kept && { keeps }) });
  }

  private lies(moved: Map<Node, Storage>, line: string): void {
    const [name = "", place = ""] = line.split(/\s+lies\s*/);
    const value = this.value(name);
    const to = value && this.place(value, place.replace(/^by itself$/, ""));
    if (value && to) moved.set(value, to);
  }

  /** `in %root`, `in %root axis a at 3`, with `from %start` for a run-time offset; empty for a tensor of its own. */
  private place(value: Node, text: string): Storage | undefined {
    if (text === "") return { root: value };
    const [name = "", axis, at, from] =
      /^in (\S+)(?: axis (\S+) at (.+?)(?: from (\S+))?)?$/.exec(text)?.slice(1) ?? [];
    const root = this.value(name);
    if (!root || axis === undefined) return root && { root };
    const offset = /^\d+$/.test(at!) ? Number(at) : this.offsets.get(at!);
    if (offset === undefined) this.wrong(at!, "the place of a part");
    const start = from === undefined ? undefined : this.value(from);
    return offset === undefined ? undefined : { root, part: { axis, offset, ...(start && { start }) } };
  }

  private value(text: string): Node | undefined {
    const [dtype, number] = /^(\w+)\((.+)\)$/.exec(text)?.slice(1) ?? [];
    if (dtypes.some((d) => d === dtype)) return scalarConstant(Number(number), dtype as DType);
    const found = text.startsWith("%") ? this.values.get(text.slice(1)) : undefined;
    if (!found) this.wrong(text, "a value of the graph");
    return found;
  }

  private finished({ kind, group, axes, stores, reads, ...draft }: Draft, places: Placement): FusedKernel {
    if (stores.length === 0) this.wrong("}", "what the kernel stores");
    const known = stores.flatMap((s) => s.value.type.axes);
    const named = (name: string) => known.find((a) => a.name === name);
    const sized = stores.length === 0 ? [] : axes.flatMap((name) => this.axis(named(name), name));
    const piece = (p: Piece): FusedKernel => {
      const own = p.keeps?.map(keptStore) ?? stores.filter((s) => places.get(s.value)?.group === p.group);
      return { kind: "row_reduction", group: p.group, axes: [], stores: own, reads: p.reads };
    };
    const [siblings, epilogues, prologues] = [
      draft.siblings.map(piece),
      draft.epilogues.map(piece),
      draft.prologues.map(piece),
    ];
    const partWidth = draft.epilogues.find((p) => p.by)?.by;
    const more = {
      ...(siblings.length > 0 && { siblings }),
      ...(epilogues.length > 0 && { epilogues }),
      ...(partWidth && { partWidth }),
      ...(prologues.length > 0 && { prologues }),
    };
    return { kind, ...(group && { group }), axes: sized, stores, reads, ...more };
  }

  private axis(found: Axis | undefined, name: string): Axis[] {
    if (!found) this.wrong("}", `an axis of the kernel's results, which "${name}" is not,`);
    return found ? [found] : [];
  }

  private storageOf(kernels: readonly FusedKernel[], moved: ReadonlyMap<Node, Storage>): Map<Node, Storage> {
    return new Map([...impliedStorage(kernels), ...moved]);
  }
}

const namesIn = (list: string): string[] =>
  list
    .replace(/^\[|\]$/g, "")
    .split(",")
    .map((n) => n.trim())
    .filter((n) => n !== "");

/** The offsets of parts of concatenations and of ranges of inputs, by their text. */
function knownOffsets(graph: Graph): Map<string, Dim> {
  const offsets = new Map<string, Dim>();
  for (const node of nodesOf(graph)) {
    const range = indexMapOf(node)?.range;
    if (range) offsets.set(String(range.start), range.start);
    if (!isConcatenation(node)) continue;
    let offset: Dim = 0;
    for (const part of node.operands) {
      offsets.set(String(offset), offset);
      offset = addDims(offset, findAxis(part.type, node.attrs.axis as string)!.size);
    }
  }
  return offsets;
}
