/** Dtypes that elementwise ops accept, and the ranges of their test values. */
import type { SampleRange } from "../../ir/op.ts";

export const numeric = ["f32", "f16", "i32", "u32"] as const;
export const floating = ["f32", "f16"] as const;

export const any: SampleRange = { low: -3, high: 3 };
export const positive: SampleRange = { low: 0.2, high: 3 };
export const awayFromZero: SampleRange = { low: -3, high: 3, avoid: [0] };
export const flag: SampleRange = { low: 0, high: 1, integer: true };
