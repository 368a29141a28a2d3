/**
 * Uniformity analysis: barriers must be in workgroup-uniform control flow, and subgroup operations in subgroup-uniform
 * control flow (WGSL, section 15, "Uniformity").
 */
import type { Expr } from "../expr.ts";
import { children } from "../expr-structure.ts";
import { type Kernel, type Stmt, threadBuiltins } from "../kernel.ts";

/** How far a value is uniform: not at all, within a subgroup, or within a workgroup. */
const level = { thread: 0, subgroup: 1, workgroup: 2 } as const;
type Level = (typeof level)[keyof typeof level];

const builtinLevels = new Map<string, Level>(
  threadBuiltins.map((name) => [
    name,
    name === "lid" || name === "lane" ? level.thread : name === "subgroup_id" ? level.subgroup : level.workgroup,
  ]),
);

const least = (...levels: readonly Level[]): Level => Math.min(level.workgroup, ...levels) as Level;

/** Reports collective statements in non-uniform control flow, or with operands that may differ between lanes. */
export function uniformityFaults(kernel: Kernel, report: (at: Stmt, message: string) => void): void {
  const levels = new Levels(kernel);
  levels.walk((s, flow) => {
    for (const message of collectiveFaults(s, flow, levels)) report(s, message);
  });
}

/** The levels of a kernel's variables, at a fixed point: a loop body may lower those that it reads earlier. */
class Levels {
  readonly #kernel: Kernel;
  readonly #names = new Map(builtinLevels);
  readonly #readOnly: ReadonlySet<string>;
  #hasChanged = true;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
    this.#readOnly = new Set(kernel.buffers.filter((b) => b.access === "read").map((b) => b.name));
    while (this.#hasChanged) {
      this.#hasChanged = false;
      this.walk(() => {});
    }
  }

  of(e: Expr): Level {
    if (e.kind === "var") return this.#names.get(e.name) ?? level.workgroup;
    if (e.kind === "element" || (e.kind === "load" && !this.#readOnly.has(e.buffer))) return level.thread;
    if (e.kind === "any") return level.workgroup;
    // As in WGSL, the result of a subgroup sum or broadcast is only as uniform as its operand.
    if (e.kind === "subgroup" && e.op === "exclusive_add") return level.thread;
    return least(...children(e).map((c) => this.of(c)));
  }

  /** Visits all statements with the level of their control flow. */
  walk(visit: (s: Stmt, flow: Level) => void): void {
    this.#walk(this.#kernel.body, level.workgroup, visit);
  }

  #walk(body: readonly Stmt[], flow: Level, visit: (s: Stmt, flow: Level) => void): void {
    for (const s of body) {
      visit(s, flow);
      if (isAssignment(s)) this.#lower(s.target.name, least(flow, this.of(s.value)));
      if (s.kind === "if") this.#walk(s.body, least(flow, this.of(s.condition)), visit);
      if (s.kind === "for") {
        const inner = least(flow, this.of(s.from), this.of(s.to));
        this.#lower(s.index.name, inner);
        this.#walk(s.body, inner, visit);
      }
    }
  }

  #lower(name: string, to: Level): void {
    if ((this.#names.get(name) ?? level.workgroup) <= to) return;
    this.#names.set(name, to);
    this.#hasChanged = true;
  }
}

type Assignment = Extract<Stmt, { readonly kind: "let" | "var" | "assign" }>;

const isAssignment = (s: Stmt): s is Assignment => s.kind === "let" || s.kind === "var" || s.kind === "assign";

/** What is wrong with a statement whose threads act together. */
function collectiveFaults(s: Stmt, flow: Level, levels: Levels): string[] {
  const value = isAssignment(s) ? s.value : undefined;
  const inWorkgroup = s.kind === "barrier" ? "barrier" : value?.kind === "any" ? "workgroup_any" : undefined;
  const call = value?.kind === "subgroup" ? value : undefined;
  const inSubgroup = call ? `subgroup_${call.op}` : s.kind.startsWith("fragment_") ? "a matrix operation" : undefined;
  const isMixed = call?.op === "shuffle_xor" && levels.of(call.lane!) < level.subgroup;
  return [
    ...(inWorkgroup && flow < level.workgroup
      ? [`${inWorkgroup} in control flow that is not uniform in the workgroup`]
      : []),
    ...(inSubgroup && flow < level.subgroup
      ? [`${inSubgroup} in control flow that is not uniform in the subgroup`]
      : []),
    ...(isMixed ? ["the mask of subgroup_shuffle_xor is not uniform in the subgroup"] : []),
    ...(fragmentOperands(s).some((e) => levels.of(e) < level.subgroup)
      ? ["an operand of a matrix operation is not uniform in the subgroup: use subgroup_id, not lid"]
      : []),
  ];
}

/** The operands that all lanes of a subgroup must agree on. */
function fragmentOperands(s: Stmt): readonly Expr[] {
  if (s.kind === "fragment_fill") return [s.value];
  const place = s.kind === "fragment_load" ? s.from : s.kind === "fragment_store" ? s.to : undefined;
  return place ? [place.offset, place.stride] : [];
}
