/** Which value a name stands for. */
import { FileError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { Value } from "./values.ts";

/** Names of values, those of a graph in an attribute after those around it. */
export class Names {
  readonly #own = new Map<string, Value>();
  readonly #around: Names | undefined;

  constructor(around?: Names) {
    this.#around = around;
  }

  get(name: string): Value | undefined {
    return this.#own.get(name) ?? this.#around?.get(name);
  }

  set(name: string, value: Value): void {
    this.#own.set(name, value);
  }

  /** Throws FileError for a second value of a name: which of them is meant, runtimes say differently. */
  define(name: string, value: Value): void {
    if (this.#own.has(name)) throw new FileError(`two values of the model are named "${shownName(name)}"`);
    this.set(name, value);
  }
}
