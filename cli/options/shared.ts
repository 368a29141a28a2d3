/** Options that several commands have, and the common form of their declarations. */
import { collect, memoryBudget } from "./values.ts";

/** Receives the exit status of a command. */
export type Done = (status: number) => void;

export const jsonOption = ["--json", "print JSON", false] as const;

export const setOption = [
  "--set <key=value>",
  "change a setting, or choose a named configuration; may be repeated",
  collect,
  [] as string[],
] as const;

export const graphOption = [
  "--graph <name>",
  "another graph of the model, such as decode; heddle inspect lists them",
] as const;

export const sizeOption = [
  "--size <name=n>",
  "value of one symbolic size; may be repeated",
  collect,
  [] as string[],
] as const;

export const memoryOption = [
  "--memory <budget>",
  "memory budget on WebGPU, as in 24GiB, or 0.8 for a fraction of the device's; activations are recomputed to fit",
  memoryBudget,
] as const;

export const weightsOption = ["--weights <path>", "safetensors file, index or folder; default random values"] as const;
