/** Name scopes of values. */
import { FileError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { Value } from "./values.ts";

/** Maps names to values; a subgraph's scope falls back to the enclosing one. */
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

  /** Throws FileError for a duplicate name: runtimes disagree on which value it means. */
  define(name: string, value: Value): void {
    if (this.#own.has(name)) throw new FileError(`two values of the model are named "${shownName(name)}"`);
    this.set(name, value);
  }
}
