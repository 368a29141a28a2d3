/**
 * Reading shared among processes: all draw the same samples in the same order, each picture is looked at by one of them, which
 * tells the others whether it is broken: the one whose row it is, or would be if no sample before were passed over. Then the one whose
 * row it is decodes it again.
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

/** A sample as this process reads it, and which process looks at its picture: the same on all of them. */
interface Draw<R> {
  readonly found: Promise<R | Skipped>;
  readonly looker: number;
}

/** Draws of one source whose verdicts are exchanged at once. */
interface Window<R> {
  readonly draws: Draw<R>[];
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

/**
 * Takes a source's draws one after the other, each as this process read it, and gives them as the one that looked at the
 * picture found them. FileError for one that only this process cannot read. `window` draws are told at once.
 */
export function agreedDraws<R extends { readonly raw: unknown }>(among: Among, source: number, window: number) {
  let open = openWindow<R>();
  let last: Promise<unknown> = Promise.resolve(); // windows are told in their order, whichever is read first
  return async (draw: Promise<R | Skipped>, looker: number): Promise<R | Skipped> => {
    const { draws, verdicts, settle } = open;
    const at = draws.length;
    draws.push({ found: draw, looker });
    if (draws.length === window) {
      open = openWindow();
      const agreed = last.then(() => told(among, source, draws));
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

async function told<R>(among: Among, source: number, draws: readonly Draw<R>[]): Promise<readonly Verdict[]> {
  const mine = draws.filter(({ looker }) => looker === among.rank);
  const own = (await Promise.all(mine.map((d) => d.found))).map((found): Verdict => (isSkipped(found) ? found : null));
  const all = (await among.exchange(source, own)).map((list) => [...list]);
  return draws.map(({ looker }) => all[looker]!.shift()!);
}

const isSkipped = <R>(found: R | Skipped): found is Skipped =>
  typeof found === "object" && found !== null && "reason" in found && !("raw" in found);
