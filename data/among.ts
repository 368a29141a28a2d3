/**
 * Distributed reading: all processes draw the same samples in the same order, and each image is decoded by only one of
 * them, which tells the others whether it is broken: the process that would own the row if no earlier sample were
 * skipped. If the row turns out to be another process's, that one decodes the image again.
 */
import { FileError } from "../compiler/index.ts";
import type { Skipped } from "./files.ts";

export interface Among {
  readonly rank: number;
  readonly size: number;
  /** Gathers every process's value for a source, which must be JSON; calls are ordered per source. */
  readonly exchange: <T>(source: number, own: T) => Promise<readonly T[]>;
}

/** Why a sample is skipped; null if it is used. */
type Verdict = Skipped | null;

/** A sample as read by this process, and the process that decodes its image; that is the same on all processes. */
interface Draw<R> {
  readonly found: Promise<R | Skipped>;
  readonly looker: number;
}

/** Draws of one source whose verdicts are exchanged in one message. */
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
  verdicts.catch(() => {}); // reported to whoever awaits one of its draws
  return { draws: [], verdicts, settle };
}

/**
 * Takes a source's draws in order, as this process read them, and returns them with the verdict of the process that
 * decoded the image. FileError for a sample that only this process cannot read. Verdicts are exchanged for `window`
 * draws at once.
 */
export function agreedDraws<R extends { readonly raw: unknown }>(among: Among, source: number, window: number) {
  let open = openWindow<R>();
  let last: Promise<unknown> = Promise.resolve(); // windows are exchanged in order, whichever is read first
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
    throw new FileError(`${found.name} can be read by other ranks but not by rank ${among.rank}: ${found.reason}`);
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
