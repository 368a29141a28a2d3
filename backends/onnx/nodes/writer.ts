/** For stages that add nodes to a body: what they write goes beside what is there. */
import type { Writer } from "../emit/emission.ts";
import type { Body } from "../forms/body.ts";

/** A writer without nodes of its own yet, that knows the body's constants and names. */
export const writerOn = ({ constants, taken }: Body): Writer => ({
  nodes: [],
  constants: new Map(constants),
  taken: new Set(taken),
  made: new Map(),
  at: undefined,
});
