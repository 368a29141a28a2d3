/**
 * Reading shared among processes: all draw the same samples in the same order, each picture is looked at by one of them, which
 * tells the others whether it is broken, and decoded again by those that need it.
 */
import { FileError } from "../compiler/index.ts";
import type { Skipped } from "./files.ts";

export interface Among {
  readonly rank: number;
  readonly size: number;
  /** Gives all processes what each says of a source, in the order of calls for it. It must be JSON. */
  readonly exchange: <T>(source: number, own: T) => Promise<readonly T[]>;
}

/** Why a sample is not used; null where it is. */
type Verdict = Skipped | null;

/** Draws of one source whose verdicts are exchanged at once. */
interface Window<R> {
  readonly draws: Promise<R | Skipped>[];
  readonly verdicts: Promise<readonly Verdict[]>;
  readonly settle: (verdicts: Promise<readonly Verdict[]>) => void;
}

function openWindow<R>(): Window<R> {
  let settle: Window<R>["settle"] = () => {};
  const verdicts = new Promise<readonly Verdict[]>((resolve) => {
    settle = resolve;
  });
  verdicts.catch(() => {}); // told to whoever asks for a draw of it
  return { draws: [], verdicts, settle };
}

/** Whether a process looks at the picture of a source's n-th draw. */
export const looksAt = ({ rank, size }: Pick<Among, "rank" | "size">, draw: number): boolean => draw % size === rank;

/**
 * Takes a source's draws one after the other, each as this process read it, and gives them as the one that looked at the
 * picture found them. FileError for one that only this process cannot read. `window` draws are told at once.
 */
export function agreedDraws<R extends { readonly raw: unknown }>(among: Among, source: number, window: number) {
  let open = openWindow<R>();
  let drawn = 0;
  let last: Promise<unknown> = Promise.resolve(); // windows are told in their order, whichever is read first
  return async (draw: Promise<R | Skipped>): Promise<R | Skipped> => {
    const { draws, verdicts, settle } = open;
    const at = draws.length;
    const first = drawn - at;
    drawn += 1;
    draws.push(draw);
    if (draws.length === window) {
      open = openWindow();
      const agreed = last.then(() => told(among, source, first, draws));
      last = agreed;
      settle(agreed);
    }
    const verdict = (await verdicts)[at]!;
    const found = await draw;
    if (verdict !== null) return verdict;
    if ("raw" in found) return found;
    throw new FileError(`${found.name} can be read by other ranks and not by rank ${among.rank}: ${found.reason}`);
  };
}

async function told<R>(
  among: Among,
  source: number,
  first: number,
  draws: readonly Promise<R | Skipped>[],
): Promise<readonly Verdict[]> {
  const mine = draws.filter((_, i) => looksAt(among, first + i));
  const own = (await Promise.all(mine)).map((found): Verdict => (isSkipped(found) ? found : null));
  const all = (await among.exchange(source, own)).map((list) => [...list]);
  return draws.map((_, i) => all[(first + i) % among.size]!.shift()!);
}

const isSkipped = <R>(found: R | Skipped): found is Skipped =>
  typeof found === "object" && found !== null && "reason" in found && !("raw" in found);
