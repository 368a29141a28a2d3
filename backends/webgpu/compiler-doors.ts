/** The compiler's output consumed here: kernel programs. */
export type { Program, ProgramKernel } from "../../compiler/index.ts";
