/** What the compiler hands to this room: programs of kernels. */
export type { Program, ProgramKernel } from "../../compiler/index.ts";
