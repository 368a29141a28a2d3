/** The compilations of a worker, by number: a page asks for the texts of the one it shows while newer ones are made. */
import type { Compiled, CompiledAbout } from "./compiled.ts";

/** A compilation's figures, and the number by which its texts are asked for. */
export interface NumberedAbout extends CompiledAbout {
  readonly number: number;
}

export class Compilations {
  readonly #kept = new Map<number, Compiled>();
  #made = 0;

  add(compiled: Compiled): NumberedAbout {
    const number = this.#made++;
    this.#kept.set(number, compiled);
    return { ...compiled.about, number };
  }

  /** Forgets those before the one that is shown: none of them is shown again. */
  show(number: number): void {
    for (const older of this.#kept.keys()) if (older < number) this.#kept.delete(older);
  }

  /** Throws an Error for one that was forgotten. */
  of(number: number): Compiled {
    const found = this.#kept.get(number);
    if (!found) throw new Error("a newer compilation is shown");
    return found;
  }
}
