/** Finds accesses of shared memory that no barrier orders: on hardware they happen in any order, here always in the same. */
import { InternalError } from "../diagnostics/error.ts";
import type { Kernel } from "./kernel.ts";

/** Whoever accesses memory on its own: a thread, or a subgroup that moves a matrix. */
type Accessor = { readonly kind: "thread" | "subgroup"; readonly index: number };

/** Notes one access; throws InternalError where another accessor's is not ordered with it. */
export type Watch = (array: string, index: number, store: boolean) => void;

const nobody = 0;
const several = -1;

/** The last accesses of each element, and how many barriers came before them. */
interface History {
  readonly writer: Int32Array;
  readonly written: Int32Array;
  readonly reader: Int32Array;
  readonly read: Int32Array;
}

export class Races {
  private readonly kernel: string;
  private readonly histories = new Map<string, History>();
  private readonly threads: number;
  /** Barriers so far, from 1: arrays begin with 0. */
  private phase = 1;

  constructor(kernel: Kernel, threads: number) {
    this.kernel = kernel.name;
    this.threads = threads;
    for (const { name, length, space } of kernel.arrays) {
      if (space !== "workgroup") continue;
      const some = () => new Int32Array(length);
      this.histories.set(name, { writer: some(), written: some(), reader: some(), read: some() });
    }
  }

  /** All threads have met: what comes next is ordered after what was. */
  barrier(): void {
    this.phase++;
  }

  watch({ kind, index: who }: Accessor): Watch {
    const id = 1 + who + (kind === "subgroup" ? this.threads : 0);
    return (array, index, store) => {
      const h = this.histories.get(array);
      if (!h || index < 0 || index >= h.writer.length) return;
      const others = (last: number, when: number) => when === this.phase && last !== id && last !== nobody;
      if (others(h.writer[index]!, h.written[index]!)) this.fail(array, index, id, h.writer[index]!, "written");
      if (store && others(h.reader[index]!, h.read[index]!)) this.fail(array, index, id, h.reader[index]!, "read");
      if (store) {
        h.writer[index] = id;
        h.written[index] = this.phase;
      } else {
        h.reader[index] = others(h.reader[index]!, h.read[index]!) ? several : id;
        h.read[index] = this.phase;
      }
    };
  }

  private fail(array: string, index: number, id: number, other: number, verb: string): never {
    const name = (n: number) => {
      if (n === several) return "several threads";
      return n > this.threads ? `subgroup ${n - 1 - this.threads}` : `thread ${n - 1}`;
    };
    throw new InternalError(
      `kernel "${this.kernel}": ${name(id)} accesses ${array}[${index}], ${verb} by ${name(other)} since the last barrier`,
    );
  }
}
