/** Index algebra: builders of i32 expressions and conditions that simplify as they build. */
export { and, eq, le, lt, select } from "./conditions.ts";
export { add, asWritten, clampIndex, div, max, min, mod, mul, sub } from "./index-arithmetic.ts";
export { laneOf, mentions, strideOf, substitute } from "./index-parts.ts";
