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
  const names = new Map(builtinLevels);
  const readOnly = new Set(kernel.buffers.filter((b) => b.access === "read").map((b) => b.name));
  let changed = true;

  const levelOf = (e: Expr): Level => {
    if (e.kind === "var") return names.get(e.name) ?? level.workgroup;
    if (e.kind === "element" || (e.kind === "load" && !readOnly.has(e.buffer))) return level.thread;
    if (e.kind === "any") return level.workgroup;
    // As in WGSL, the result of a subgroup sum or broadcast is only as uniform as its operand.
    if (e.kind === "subgroup" && e.op === "exclusive_add") return level.thread;
    return least(...children(e).map(levelOf));
  };
  const lower = (name: string, to: Level) => {
    if ((names.get(name) ?? level.workgroup) <= to) return;
    names.set(name, to);
    changed = true;
  };
  const walk = (body: readonly Stmt[], flow: Level, visit: (s: Stmt, flow: Level) => void): void => {
    for (const s of body) {
      visit(s, flow);
      if (s.kind === "let" || s.kind === "var" || s.kind === "assign")
        lower(s.target.name, least(flow, levelOf(s.value)));
      if (s.kind === "if") walk(s.body, least(flow, levelOf(s.condition)), visit);
      if (s.kind === "for") {
        const inner = least(flow, levelOf(s.from), levelOf(s.to));
        lower(s.index.name, inner);
        walk(s.body, inner, visit);
      }
    }
  };
  // Iterate to a fixed point: a loop body may lower the level of variables that it reads earlier.
  while (changed) {
    changed = false;
    walk(kernel.body, level.workgroup, () => {});
  }
  walk(kernel.body, level.workgroup, (s, flow) => {
    if (s.kind === "barrier" && flow < level.workgroup)
      report(s, "barrier in control flow that is not uniform in the workgroup");
    const any = (s.kind === "let" || s.kind === "var" || s.kind === "assign") && s.value.kind === "any";
    if (any && flow < level.workgroup) report(s, "workgroup_any in control flow that is not uniform in the workgroup");
    const call =
      (s.kind === "let" || s.kind === "var" || s.kind === "assign") && s.value.kind === "subgroup" && s.value;
    if ((call || s.kind.startsWith("fragment_")) && flow < level.subgroup)
      report(
        s,
        `${call ? `subgroup_${call.op}` : "a matrix operation"} in control flow that is not uniform in the subgroup`,
      );
    if (call && call.op === "shuffle_xor" && levelOf(call.lane!) < level.subgroup)
      report(s, "the mask of subgroup_shuffle_xor is not uniform in the subgroup");
    const place = s.kind === "fragment_load" ? s.from : s.kind === "fragment_store" ? s.to : undefined;
    const operands = place ? [place.offset, place.stride] : s.kind === "fragment_fill" ? [s.value] : [];
    if (operands.some((e) => levelOf(e) < level.subgroup))
      report(s, "an operand of a matrix operation is not uniform in the subgroup: use subgroup_id, not lid");
  });
}
