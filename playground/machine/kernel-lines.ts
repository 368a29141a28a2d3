/**
 * Maps lines of a kernel's text to lines of the user's file, where possible: a buffer is a tensor, which has a source
 * line; a call is an op, which has one line if the kernel has no other of its kind; a sum over a loop is the kernel's
 * reduction; and a value computed from the values of a single line belongs to that line. Indices have none.
 */
import { isAffine, isElementwise, type Kernel, kernelIr, type Node } from "../../compiler/index.ts";

/** Source lines by the name of a buffer, variable, array or fragment. */
export type LinesByName = ReadonlyMap<string, number>;

type Lines = ReadonlySet<number>;
const none: Lines = new Set();
const union = (all: readonly Lines[]): Lines => new Set(all.flatMap((lines) => [...lines]));
const only = (lines: Lines): number | undefined => (lines.size === 1 ? [...lines][0] : undefined);

export function linesByName(
  kernel: Kernel,
  /** The tensors of its buffers, in order. */
  tensors: readonly Node[],
  /** The nodes it computes. */
  computed: readonly Node[],
  lineOf: (node: Node) => number | undefined,
): LinesByName {
  const linesOf = (nodes: readonly Node[]): Lines => new Set(nodes.flatMap((node) => lineOf(node) ?? []));
  const held = new Map<string, Lines>(kernel.buffers.map(({ name }, i) => [name, linesOf([tensors[i]!])]));
  const reduced = linesOf(computed.filter((node) => !isElementwise(node) && !isAffine(node)));
  const ofCall = (op: string) => linesOf(computed.filter((node) => node.op === op));
  const read = (name: string): Lines => held.get(name) ?? none;
  const keep = (name: string, lines: Lines) => held.set(name, lines);

  const linesIn = (e: kernelIr.Expr): Lines => {
    if (e.kind === "load") return read(e.buffer);
    if (e.kind === "element") return read(e.array);
    if (e.kind === "var") return read(e.name);
    if (e.kind === "select") return union([linesIn(e.yes), linesIn(e.no)]);
    const own = e.kind === "op" ? ofCall(e.op) : none;
    return own.size > 0 ? own : union(kernelIr.children(e).map(linesIn));
  };
  const reads = (e: kernelIr.Expr, name: string): boolean =>
    (e.kind === "var" && e.name === name) || kernelIr.children(e).some((child) => reads(child, name));

  for (const s of kernelIr.statements(kernel.body)) {
    if (s.kind === "let" || s.kind === "var") keep(s.target.name, linesIn(s.value));
    else if (s.kind === "assign")
      keep(s.target.name, reads(s.value, s.target.name) && reduced.size > 0 ? reduced : linesIn(s.value));
    else if (s.kind === "set") keep(s.array, union([read(s.array), linesIn(s.value)]));
    else if (s.kind === "fragment_load") keep(s.fragment, read(s.from.array));
    else if (s.kind === "fragment_multiply") keep(s.fragment, reduced);
    else if (s.kind === "fragment_store" && !kernel.buffers.some(({ name }) => name === s.to.array))
      keep(s.to.array, union([read(s.to.array), read(s.fragment)]));
  }
  return new Map([...held].flatMap(([name, lines]) => (only(lines) === undefined ? [] : [[name, only(lines)!]])));
}

/** Matches the target that a line of WGSL or kernel IR sets, declares or stores to. */
const target =
  /^\s*(?:@group\S+ @binding\S+ )?(?:let |var(?:<[^>]*>)? |workgroup |private )?(\w+)(?:\[.*\])?(?:: [^=]*)?(?: = |;|$)|&(\w+), /;

/** The source line of a line of a kernel's text. */
export function lineFrom(text: string, lines: LinesByName): { readonly line?: number } {
  const [, set, place] = target.exec(text) ?? [];
  const name = set ?? place;
  const line = name === undefined ? undefined : (lines.get(name) ?? lines.get(name.replace(/_$/, "")));
  return line === undefined ? {} : { line };
}
