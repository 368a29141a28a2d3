/** Row reductions that read each row once: the threads that share it keep it in registers between reductions. */
import { dimExpr, isMultipleOf, typical } from "../../../fusion/index.ts";
import { type ArrayDecl, int, variable } from "../../../kernel/index.ts";
import { add, div, lt, min, mod, mul, sub } from "../../../kernel/simplify.ts";
import { noSharing } from "../../facts.ts";
import { ceilDiv, type KernelCode } from "../../kernel.ts";
import type { Schedule } from "../../schedule.ts";
import { knownSubgroup, subgroupReduction, threadOf, workgroupReduction } from "./combine.ts";
import { elementsOfLoad, isContiguousAlong, type RowProblem, wholeReads, whyTooMuchStorage } from "./problem.ts";
import { lowerRows } from "./row-lowering.ts";

interface Held extends Readonly<Record<string, number>> {
  readonly threads: number;
  /** Threads that share a row. */
  readonly lanes: number;
  /** Neighbouring elements that a thread loads at once. */
  readonly elements: number;
  /** Subgroup size; 0 if threads exchange partial results through workgroup memory. */
  readonly subgroup: number;
}

/** Elements that a thread can hold, over all tensors, before registers spill: fewer in large workgroups. */
const mostHeld = ({ threads }: Held): number => (threads > 512 ? 32 : 64);
/** The ideal number of elements per thread: enough loads in flight without too few threads. */
const wellHeld = 16;
/** Enough threads to keep a GPU busy. */
const manyThreads = 65536;

const turnsOf = ({ width }: RowProblem, { lanes, elements }: Held): number =>
  Math.ceil(typical(width) / (lanes * elements));

export const rowInRegisters: Schedule<RowProblem, Held> = {
  name: "row-in-registers",
  summary: "the threads that share a row load it once, with vector loads if possible, and keep it in registers",
  settings: (facts) => {
    if (facts.software) return noSharing;
    const subgroup = knownSubgroup(facts);
    return [8, 16, 32, 64, 128, 256, 512, 1024]
      .filter((lanes) => lanes <= facts.maxWorkgroupInvocations)
      .flatMap((lanes) =>
        [8, 4, 1].map((elements) => ({ threads: Math.max(64, subgroup, lanes), lanes, elements, subgroup })),
      );
  },
  fits: (problem, settings, facts) => {
    const { k, width } = problem;
    const full = settings.subgroup === 0 ? whyTooMuchStorage(problem, settings.threads, 1, facts) : undefined;
    if (full) return full;
    if (typeof width !== "number") return "the row length is symbolic";
    const { elements, lanes } = settings;
    if (elements > 1 && !elementsOfLoad(problem).includes(elements))
      return `no tensor has ${elements} elements per 16-byte load`;
    if (!isMultipleOf(width, elements)) return `the row length, ${width}, is not a multiple of ${elements}`;
    if (2 * width <= lanes)
      return `a row has ${width} elements, at most half as many as the ${lanes} threads that would share it`;
    if (turnsOf(problem, settings) * elements * Math.max(1, wholeReads(problem)) > mostHeld(settings))
      return `a row of ${width} elements does not fit the registers of ${lanes} threads`;
    return isContiguousAlong(k, k.fused.group!.reduced) || "rows are not contiguous in memory";
  },
  cost: (problem, settings) => {
    const { lanes, elements } = settings;
    const held = turnsOf(problem, settings) * elements;
    const wasted = (held * lanes) / typical(problem.width);
    const idle = Math.max(1, manyThreads / (typical(problem.rows) * lanes)) ** 0.25;
    const narrow = elements === 1 ? 2 : 1;
    return wasted * idle * narrow * Math.max(1, held / wellHeld) * (1 + Math.log2(lanes) / 16);
  },
  lower,
};

function lower(problem: RowProblem, settings: Held): KernelCode {
  const { k, rows } = problem;
  const { threads, lanes, elements, subgroup } = settings;
  const [count, each] = [dimExpr(rows), threads / lanes];
  const arrays: ArrayDecl[] = [];
  const code = k.perWorkgroup(ceilDiv(count, each), threads, (workgroup) => {
    const lid = threadOf(threads, subgroup, (name, max) => variable(name, "i32", { min: 0, max }));
    const lane = mod(lid, int(lanes));
    const row = add(mul(workgroup, int(each)), div(lid, int(lanes)));
    const inside = lt(row, count);
    // All threads meet at barriers and exchanges, those past the last row with the last row.
    const line = inside.kind === "const" ? { row } : { row: min(row, sub(count, int(1))), inside };
    const all = { threads, lid, lane, lanes, apart: 1 };
    const combine = subgroup > 0 ? subgroupReduction(k, all, subgroup, arrays) : workgroupReduction(k, all, arrays);
    return lowerRows(k, [line], { first: lane, step: lanes, elements, turns: turnsOf(problem, settings), combine });
  });
  return { ...code, arrays, ...(subgroup > 0 && { subgroupSize: subgroup }) };
}
