/** Positions of another grid: what a checkpoint made for pictures of another size has. */
import type { FitTensor } from "../../dsl/index.ts";
import { resizedPositions } from "../internvl/positions.ts";

/**
 * Interpolates the positions of patches once, bicubic and without antialiasing, as transformers does; that of the class token
 * stays. Nothing else can have another shape.
 */
export const fitPositions: FitTensor = (parameter, stored, expected) => {
  if (parameter !== "vision.positions") return undefined;
  const [[tokens = 0, width], [wanted = 0, embed]] = [stored.slice(-2), expected.slice(-2)];
  const [from, to] = [Math.sqrt(tokens - 1), Math.sqrt(wanted - 1)];
  if (width !== embed || !Number.isInteger(from) || from < 1 || !Number.isInteger(to)) return undefined;
  return {
    note: `interpolated from ${from} × ${from} to ${to} × ${to} patches`,
    apply: (data) => resizedPositions(data, from, to),
  };
};
