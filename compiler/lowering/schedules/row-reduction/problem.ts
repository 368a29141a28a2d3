/** What a row reduction has to compute: rows, each of which is folded. */
import { spanOf } from "../../../fusion/index.ts";
import type { Dim } from "../../../ir/dim.ts";
import type { Lowering } from "../../kernel.ts";

export interface RowProblem {
  readonly k: Lowering;
  readonly rows: Dim;
  /** Elements of a row. */
  readonly width: Dim;
}

export const rowProblem = (k: Lowering): RowProblem => {
  const { rows, reduced } = k.fused.group!;
  return { k, rows: spanOf(rows.map((c) => c.axis)), width: spanOf(reduced.map((c) => c.axis)) };
};
