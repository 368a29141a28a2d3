/** Name scopes of values. */
import { FileError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { Operand } from "./values.ts";

/** Maps names to values; a subgraph's scope falls back to the enclosing one. */
export class Names {
  readonly #own = new Map<string, Operand>();
  readonly #around: Names | undefined;

  constructor(around?: Names) {
    this.#around = around;
  }

  get(name: string): Operand | undefined {
    return this.#own.get(name) ?? this.#around?.get(name);
  }

  set(name: string, value: Operand): void {
    this.#own.set(name, value);
  }

  /** Throws FileError for a duplicate name: runtimes disagree on which value it means. */
  define(name: string, value: Operand): void {
    if (this.#own.has(name)) throw new FileError(`two values of the model are named "${shownName(name)}"`);
    this.set(name, value);
  }
}
