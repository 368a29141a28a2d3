/**
 * Attention on matrix units. A subgroup owns m rows, accumulated in its fragments while the workgroup loops over blocks
 * of the other side; logits and weights go through strips of workgroup memory, since lanes cannot access fragment
 * elements.
 */
import { tooManyThreads, tooMuchMemory } from "../../facts.ts";
import type { Schedule } from "../../schedule.ts";
import { backwardBytes, lowerBackward } from "./matrix-backward.ts";
import { forwardBytes, lowerForward } from "./matrix-forward.ts";
import { fitsMatrices, type MatrixTile, matrixCost, matrixSettings } from "./matrix-tile.ts";
import { type AttentionProblem, passOf } from "./problem.ts";
import { Frame, type Sides, sidesOf } from "./sides.ts";

const isForward = ({ parts }: AttentionProblem): boolean => passOf(parts.cores[0]!) === "forward";
const subgroupsOf = (problem: AttentionProblem, t: MatrixTile): number => (isForward(problem) ? t.tiles : 2 * t.tiles);
const frameOf = ({ k, parts }: AttentionProblem): Frame => new Frame(k, parts, sidesOf(parts) as Sides);

export const attentionMatrices: Schedule<AttentionProblem, MatrixTile> = {
  name: "subgroup-matrices",
  summary:
    "flash attention on matrix units (tensor cores): subgroups own rows, and loop over blocks of the other side staged in workgroup memory",
  features: ["subgroups", "subgroup_matrix"],
  settings: matrixSettings,
  fits: (problem, t, facts) => {
    const fit = fitsMatrices(problem, t);
    if (fit === true || typeof fit === "string" || "assuming" in fit) return fit;
    if (subgroupsOf(problem, t) * t.lanes > facts.maxWorkgroupInvocations)
      return tooManyThreads(subgroupsOf(problem, t) * t.lanes, facts);
    const bytes = (isForward(problem) ? forwardBytes : backwardBytes)(problem, t);
    return bytes <= facts.maxWorkgroupStorage || `its tiles ${tooMuchMemory(bytes, facts)}`;
  },
  cost: (problem, t) => matrixCost(problem.parts, t, subgroupsOf(problem, t)),
  lower: (problem, t) => (isForward(problem) ? lowerForward : lowerBackward)(frameOf(problem), t),
};
