/** A schedule added from outside: one record in one file. docs/adding-a-schedule.md walks through it. */
import { kernelIr, lowering } from "../../compiler/index.ts";

const { dimExpr, guarded, lowerRow, ceilDiv, noSharing, typical } = lowering;
const { index, int, subgroupCall, variable, variableFor } = kernelIr;

interface Lanes extends lowering.Settings {
  /** Threads of a workgroup: a whole number of subgroups, each with a row of its own. */
  readonly threads: number;
  /** Threads of a subgroup. */
  readonly lanes: number;
}

export const rowPerSubgroup: lowering.Schedule<lowering.RowProblem, Lanes> = {
  name: "row-per-subgroup",
  summary: "the lanes of a subgroup share a row, and exchange what they have without a barrier",
  features: ["subgroups"],
  settings: ({ software, subgroupSizes: { min, max }, features }) => {
    if (software) return noSharing;
    if (min !== max && !features.has("subgroup_size"))
      return `the subgroup size varies from ${min} to ${max}, and kernels cannot set it on this adapter`;
    const sizes = [4, 8, 16, 32, 64, 128].filter((lanes) => lanes >= min && lanes <= max);
    return sizes.map((lanes) => ({ threads: Math.max(64, lanes), lanes }));
  },
  fits: ({ width }, { lanes }) =>
    typical(width) >= lanes || `a row has ${width} elements, fewer than the ${lanes} lanes of a subgroup`,
  // A lane's steps: its share of the row, then the exchanges.
  cost: ({ width }, { lanes }) => Math.ceil(typical(width) / lanes) + Math.log2(lanes),
  lower: ({ k, rows }, { threads, lanes }) => {
    const [count, each] = [dimExpr(rows), threads / lanes];
    const subgroup = variable("subgroup_id", "i32", { min: 0, max: each - 1 });
    const lane = variable("lane", "i32", { min: 0, max: lanes - 1 });
    const sharing = { first: lane, step: lanes, combine: exchange(k, lanes) };
    const code = k.perWorkgroup(ceilDiv(count, each), threads, (workgroup) => {
      const row = index.add(index.mul(workgroup, int(each)), subgroup);
      return guarded(k.names.fresh("i"), row, count, (item) => lowerRow(k, item, sharing));
    });
    return { ...code, subgroupSize: lanes };
  },
};

/** Each lane folds what it has with the lane that differs in one bit, bit after bit: in the end all have all. */
const exchange =
  (k: lowering.Lowering, lanes: number): lowering.Sharing["combine"] =>
  (accumulators, merge) => {
    const body: kernelIr.Stmt[] = [];
    for (let bit = 1; bit < lanes; bit *= 2) {
      const others = accumulators.map((own) => {
        const value = subgroupCall("shuffle_xor", own, int(bit));
        const target = variableFor(k.names.fresh("o"), value);
        body.push({ kind: "let", target, value });
        return target;
      });
      const { lets, values } = merge(accumulators, others);
      body.push(...lets, ...accumulators.map((target, i) => ({ kind: "assign", target, value: values[i]! }) as const));
    }
    return { body, values: accumulators };
  };
