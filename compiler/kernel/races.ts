/** Detects data races in workgroup memory, which the interpreter's fixed order of threads would otherwise hide. */
import { InternalError } from "../diagnostics/error.ts";
import { type Kernel, threadsOf } from "./kernel.ts";

/** Records one access; throws InternalError if it races with one of another accessor. */
export type Watch = (array: string, index: number, store: boolean) => void;

/** Accessors are numbered: first the threads of a workgroup, then its subgroups, which load and store matrices. */
const nobody = 0;
const several = -1;

export const threadAccessor = (lid: number): number => 1 + lid;

/** The accesses of a workgroup to its arrays. */
export class Races {
  private readonly arrays: ReadonlyMap<string, ArrayRaces>;
  private readonly threads: number;
  /** 1 + the number of barriers so far; 0 in the histories means no access yet. */
  phase = 1;

  constructor(kernel: Kernel) {
    this.threads = threadsOf(kernel);
    const shared = kernel.arrays.filter(({ space }) => space === "workgroup");
    this.arrays = new Map(
      shared.map(({ name, length }) => {
        const fail = (index: number, id: number, other: number, verb: string) => {
          throw new InternalError(
            `kernel "${kernel.name}": ${this.nameOf(id)} accesses ${name}[${index}], ${verb} by ${this.nameOf(other)} since the last barrier`,
          );
        };
        return [name, new ArrayRaces(this, length, fail)];
      }),
    );
  }

  /** All threads reached a barrier: later accesses are ordered after earlier ones. */
  barrier(): void {
    this.phase++;
  }

  /** Undefined for memory that is not shared by a workgroup alone. */
  of(array: string): ArrayRaces | undefined {
    return this.arrays.get(array);
  }

  watchSubgroup(index: number): Watch {
    const id = 1 + this.threads + index;
    return (array, at, store) => this.of(array)?.[store ? "write" : "read"](at, id);
  }

  private nameOf(id: number): string {
    if (id === several) return "several threads";
    return id > this.threads ? `subgroup ${id - 1 - this.threads}` : `thread ${id - 1}`;
  }
}

/** The last writer and reader of each element of an array, and the barrier phase of these accesses. */
export class ArrayRaces {
  private readonly races: Races;
  private readonly fail: (index: number, id: number, other: number, verb: string) => void;
  private readonly writer: Int32Array;
  private readonly written: Int32Array;
  private readonly reader: Int32Array;
  private readonly lastRead: Int32Array;

  constructor(races: Races, length: number, fail: ArrayRaces["fail"]) {
    this.races = races;
    this.fail = fail;
    this.writer = new Int32Array(length);
    this.written = new Int32Array(length);
    this.reader = new Int32Array(length);
    this.lastRead = new Int32Array(length);
  }

  read(index: number, id: number): void {
    if (index < 0 || index >= this.writer.length) return;
    this.checkWriter(index, id);
    this.reader[index] = this.isOther(this.reader[index]!, this.lastRead[index]!, id) ? several : id;
    this.lastRead[index] = this.races.phase;
  }

  write(index: number, id: number): void {
    if (index < 0 || index >= this.writer.length) return;
    this.checkWriter(index, id);
    const reader = this.reader[index]!;
    if (this.isOther(reader, this.lastRead[index]!, id)) this.fail(index, id, reader, "read");
    this.writer[index] = id;
    this.written[index] = this.races.phase;
  }

  private checkWriter(index: number, id: number): void {
    const writer = this.writer[index]!;
    if (this.isOther(writer, this.written[index]!, id)) this.fail(index, id, writer, "written");
  }

  private isOther(last: number, when: number, id: number): boolean {
    return when === this.races.phase && last !== id && last !== nobody;
  }
}
