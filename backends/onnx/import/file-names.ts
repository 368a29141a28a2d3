/** Sanitizes names from a file for messages, inputs, outputs, parameters and graphs. */
import { freshName } from "./values.ts";

/** The name without control characters and halves of surrogate pairs. */
const printable = (name: string): string =>
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  name.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029\ud800-\udfff]/gu, "_");

/** A file's name for display: shortened, and printable. */
export const shownName = (name: string): string => printable(name.length > 160 ? `${name.slice(0, 157)}...` : name);

/** Names of inputs or outputs: the file's, of any length, with a note where one is not printable. */
export class InterfaceNames {
  readonly notes: string[] = [];
  readonly #taken: Set<string>;

  readonly #what: "input" | "output";

  /** `all` are the names in the file; printable ones are kept. */
  constructor(what: "input" | "output", all: readonly string[]) {
    this.#what = what;
    this.#taken = new Set(all);
  }

  of(name: string): string {
    const plain = printable(name);
    if (plain === name) return name;
    const free = this.#taken.has(plain) ? freshName(plain, this.#taken) : plain;
    this.#taken.add(free);
    this.notes.push(`the ${this.#what} "${shownName(free)}" is ${JSON.stringify(name).slice(0, 160)} in the file`);
    return free;
  }
}

/** "/encoder/layer.0/MatMul:weight" becomes "encoder.layer.0.MatMul_weight": dot-separated identifiers. */
export const parameterPath = (name: string): string => {
  const parts = shownName(name)
    .split(/[./]+/)
    .map((part) => part.replace(/[^\w-]+/g, "_").replace(/^-/, "_"));
  const path = parts.filter((part) => part !== "").join(".");
  return path === "" ? "weight" : path;
};

/** A valid graph name. */
export const graphName = (name: string): string => {
  const plain = shownName(name)
    .replace(/\W+/g, "_")
    .replace(/^(?=\d)/, "_")
    .replace(/^_+$/, "");
  return plain === "" ? "model" : plain;
};
