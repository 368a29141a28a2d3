/** A command that several ranks run together: the end of one is the end of all, and one message tells it. */
import { heddleVersion } from "../api/node-index.ts";
import { escapeControls, oneRank, type Ranks } from "../runtime/index.ts";
import { joinRanks } from "../runtime/node-index.ts";
import { faultText, RankLostError } from "./fault-text.ts";

/** Milliseconds in which rank 0 puts its folder in order when another has ended; what hangs on a device is not waited for. */
const orderMs = 10_000;

export interface RankSession {
  readonly ranks: Ranks;
  /** Tells people, from rank 0 alone. */
  readonly say: (text: string) => void;
  /** Tells what a signal leads to: not where it came from a launcher that ends all ranks because one has. */
  readonly sayOfSignal: (text: string) => void;
}

/** Milliseconds after which a launcher's signal would have been followed by the reason for it. */
const reasonMs = 1500;

const print = (text: string): void => void process.stderr.write(`${escapeControls(text)}\n`);

/** Runs `body` on every rank that a launcher started, or on the one process that there is. */
export async function inRankSession<T>(body: (session: RankSession) => Promise<T>): Promise<T> {
  let isLost = false;
  const lost = (message: string | undefined, isFirst: boolean) => {
    isLost = true;
    if (message !== undefined) print(message);
    if (!isFirst) process.exit(1);
    setTimeout(() => process.exit(1), orderMs).unref();
  };
  // Before anything else: what ranks do together depends on it.
  const ranks = await joinRanks(process.env, lost, { "the version of heddle": heddleVersion() }).catch((error) => {
    if (isLost) process.exit(1);
    throw error;
  });
  const { isFirst } = ranks;
  // MPICH's launcher tells so that a rank has ended; Node would open a debugger.
  if (ranks !== oneRank) process.on("SIGUSR1", () => {});
  if (ranks === oneRank) return await body({ ranks, say: print, sayOfSignal: print });
  const say = (text: string) => {
    if (isFirst && !isLost) print(text);
  };
  try {
    const result = await body({ ranks, say, sayOfSignal: (text) => void setTimeout(say, reasonMs, text).unref() });
    await ranks.dispose();
    return result;
  } catch (error) {
    const { text, status } = faultText(isLost ? new RankLostError() : error);
    await ranks.fails(text);
    if (isFirst && text !== "") process.stderr.write(`${text}\n`);
    process.exit(status); // without MPI_Finalize, which would wait for the others
  }
}
