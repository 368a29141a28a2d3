/** The types of the kernel IR, as the programs that the compiler hands out carry them. */
import type { ProgramKernel } from "../../../compiler/index.ts";

export type Kernel = ProgramKernel["kernel"];
export type BufferParam = Kernel["buffers"][number];
export type Stmt = Kernel["body"][number];
export type Expr = Kernel["grid"][number];
