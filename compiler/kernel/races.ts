/** Detects data races in workgroup memory, which the interpreter's fixed order of threads would otherwise hide. */
import { InternalError } from "../diagnostics/error.ts";
import type { Kernel } from "./kernel.ts";

/** The agent of an access: a thread, or a subgroup that loads or stores a matrix. */
type Accessor = { readonly kind: "thread" | "subgroup"; readonly index: number };

/** Records one access; throws InternalError if it races with one of another accessor. */
export type Watch = (array: string, index: number, store: boolean) => void;

const nobody = 0;
const several = -1;

/** The last writer and reader of each element, and the barrier phase of these accesses. */
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
  /** 1 + the number of barriers so far; 0 in the histories means no access yet. */
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

  /** All threads reached a barrier: later accesses are ordered after earlier ones. */
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
