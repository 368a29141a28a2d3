/**
 * Rematerialization: fits the memory of a plan into a budget by recomputing tensors instead of keeping them. Greedy: of
 * the tensors that are idle at the memory peak, it frees the one with the lowest recomputation cost per byte, then
 * repeats with the new plan. Chen et al. 2016, arXiv:1604.06174; Jain et al. 2020, arXiv:1910.02653.
 */
import { BudgetError } from "../diagnostics/error.ts";
import type { Node } from "../ir/node.ts";
import { printType } from "../ir/type.ts";
import { type CoresidentProgram, givenBytes, sharedSlots } from "./coresident-programs.ts";
import { kernelName } from "./kernel-nodes.ts";
import { bytesAlive, type Life, livesOf } from "./liveness.ts";
import type { FusionPlan } from "./plan.ts";
import { planMemory } from "./plan-memory.ts";
import { type Evicted, Recomputation, type Repeated } from "./recompute.ts";
import { deviceBytes, typical } from "./sizes.ts";

/** Recomputed tensors of at most this share of the budget are not freed in between. */
const smallShare = 1 / 4096;

/**
 * A plan whose buffers (inputs, tables and slots), with those of the programs beside it, fit in `budget` bytes. Throws
 * BudgetError, with the lowest memory reached and its largest tensors, if rematerialization cannot reach the budget.
 */
export function rematerialize(
  plan: FusionPlan,
  budget: number | undefined,
  beside: readonly CoresidentProgram[] = [],
): FusionPlan {
  if (budget === undefined) return plan;
  const given = givenBytes([planMemory(plan), ...beside]);
  const others = beside.map(slotsOf);
  const start = state({ plan, places: plan.kernels.map((_, i) => i) }, others);
  if (given + start.slots <= budget) return plan;
  const best = fit(plan, start, budget - given, others);
  if (given + best.slots > budget) throw new BudgetError(misfit(best, given, budget), given + best.slots);
  return best.plan;
}

/** A plan with its memory use. */
interface State extends Repeated {
  readonly lives: ReadonlyMap<Node, readonly Life[]>;
  readonly alive: Float64Array;
  /** The index of the kernel at which most bytes are alive. */
  readonly peak: number;
  /** Bytes of the slots shared with programs beside it: live bytes plus fragmentation. */
  readonly slots: number;
}

function state(repeated: Repeated, others: readonly (readonly number[])[]): State {
  const lives = livesOf(repeated.plan);
  const alive = bytesAlive(lives, repeated.plan.kernels.length);
  const peak = alive.reduce((best, n, i) => (n > alive[best]! ? i : best), 0);
  return { ...repeated, lives, alive, peak, slots: sum(sharedSlots([slotsOf(planMemory(repeated.plan)), ...others])) };
}

const slotsOf = ({ plan }: CoresidentProgram): number[] => plan.slots.map((s) => Math.max(...s.map(typical)));

/** The first plan whose slots fit the budget, or else the one with the smallest slots. */
function fit(plan: FusionPlan, start: State, budget: number, others: readonly (readonly number[])[]): State {
  const recomputation = new Recomputation(plan);
  const small = budget * smallShare;
  const refused = new Map<Node, Set<number>>();
  let givenUp: Evicted[] = [];
  let now = start;
  let best = start;
  for (;;) {
    const next = cheapest(now, recomputation, refused);
    if (!next) return best;
    const repeated = recomputation.without([...givenUp, next], small);
    const after = repeated && state(repeated, others);
    refused.set(next.root, (refused.get(next.root) ?? new Set()).add(next.use));
    if (!after || after.alive[after.peak]! > now.alive[now.peak]!) continue;
    givenUp = [...givenUp, next];
    now = after;
    if (now.slots < best.slots) best = now;
    if (best.slots <= budget) return best;
  }
}

/** Of the tensors that are idle at the peak and were not tried yet, the cheapest to recompute per byte. */
function cheapest(
  { plan, places, lives, peak }: State,
  recomputation: Recomputation,
  tried: ReadonlyMap<Node, ReadonlySet<number>>,
): Evicted | undefined {
  const place = places[peak]!;
  const isIdle = ({ from, to }: Life) => from < peak && peak < to;
  let best: (Evicted & { readonly score: number }) | undefined;
  for (const [root, list] of lives) {
    if (!list.some(isIdle)) continue;
    const gap = recomputation.gapAt(root, place);
    if (!gap || tried.get(root)?.has(gap.use)) continue;
    const at = firstOf(places, gap.use, plan.kernels.length);
    const isThere = (r: Node) => lives.get(r)?.some(({ from, to }) => from < at && at <= to) ?? false;
    const cost = recomputation.costOf(root, gap.use, isThere);
    if (cost === undefined) continue;
    const score = cost / typical(deviceBytes(root));
    if (!best || score < best.score) best = { root, use: gap.use, score };
  }
  return best;
}

/** The index of the first kernel that runs for a place (binary search). */
function firstOf(places: readonly number[], place: number, length: number): number {
  let [low, high] = [0, length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (places[middle]! < place) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The error message: the lowest memory reached, and what uses it. */
function misfit({ plan, lives, peak, slots }: State, given: number, budget: number): string {
  const held = [...lives]
    .filter(([, list]) => list.some(({ from, to }) => from <= peak && peak <= to))
    .map(([root]) => [root, typical(deviceBytes(root))] as const)
    .sort((a, b) => b[1] - a[1])
    .slice(0, 3)
    .map(([root, n]) => `${nameOf(root)} ${bytesText(n)}`);
  return [
    `@${plan.graph.name} needs at least ${bytesText(given + slots)} of memory, and the budget is ${bytesText(budget)}:`,
    `${bytesText(given)} for parameters, states and inputs, and ${bytesText(slots)} for intermediate values, with everything rematerialized that can be.`,
    `The peak is at kernel "${kernelName(plan.kernels[peak]!)}"${held.length > 0 ? `, whose largest values are ${held.join(", ")}` : ""}.`,
    "Raise the budget, or use a smaller batch",
  ].join(" ");
}

const nameOf = ({ op, path, type }: Node): string => `${path === "" ? op : `${path}/${op}`} (${printType(type)})`;

const bytesText = (n: number): string => `${n.toLocaleString("en-US")} bytes`;

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);
