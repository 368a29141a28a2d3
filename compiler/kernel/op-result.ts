/** Type inference for ops of the registry on register operands. */
import type { DType } from "../ir/dtype.ts";
import { findOp, OpViolation } from "../ir/op.ts";
import type { RegisterType } from "./expr.ts";

/** The result dtype; undefined if there is no such elementwise op, or it does not take these operands. */
export function opResult(op: string, args: readonly RegisterType[]): DType | undefined {
  const record = findOp(op);
  if (record?.kind !== "elementwise" || !record.scalar || args.length !== record.operands.length) return undefined;
  try {
    return record.infer(
      args.map((a) => ({ dtype: a.dtype, axes: [] })),
      {},
    ).dtype;
  } catch (cause) {
    if (cause instanceof OpViolation) return undefined;
    throw cause;
  }
}
