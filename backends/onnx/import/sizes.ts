/** What is true of open sizes whatever their symbols stand for. */
import { boundsOf, type Dim, subDims } from "../../../compiler/index.ts";

/** Whether a is above b, or not below it, for all numbers that their symbols may be. */
export function certainly(a: Dim, relation: ">" | ">=", b: Dim): boolean {
  if (a === b) return relation === ">=";
  const { min } = boundsOf(subDims(a, b));
  return relation === ">" ? min > 0 : min >= 0;
}
