import type { KernelCode } from "../../kernel.ts";
import type { MatrixTile } from "./matrix-tile.ts";
import type { AttentionProblem } from "./problem.ts";
import type { Frame } from "./sides.ts";
export const backwardBytes = (_p: AttentionProblem, _t: MatrixTile): number => Infinity;
export const lowerBackward = (_f: Frame, _t: MatrixTile): KernelCode => { throw new Error("x"); };
