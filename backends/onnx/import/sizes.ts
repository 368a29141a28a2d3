/** Facts about symbolic sizes that hold for all values of their symbols. */
import { boundsOf, type Dim, subDims } from "../../../compiler/index.ts";

/** Whether the relation holds for all values of the symbols. */
export function certainly(a: Dim, relation: ">" | ">=", b: Dim): boolean {
  if (a === b) return relation === ">=";
  const { min } = boundsOf(subDims(a, b));
  return relation === ">" ? min > 0 : min >= 0;
}
