/** A writer for stages that add nodes to an existing body. */
import type { Writer } from "../emit/emission.ts";
import type { Body } from "../forms/body.ts";

/** An empty writer that knows the body's constants and names. */
export const writerOn = ({ constants, taken }: Body): Writer => ({
  nodes: [],
  constants: new Map(constants),
  taken: new Set(taken),
  made: new Map(),
  at: undefined,
});
