/** A command that several ranks run together: if one ends, all end, with one message. */
import { heddleVersion } from "../api/node-index.ts";
import { escapeControls, oneRank, type Ranks } from "../runtime/index.ts";
import { joinRanks } from "../runtime/node-index.ts";
import { faultText, RankLostError } from "./fault-text.ts";

/** Milliseconds that rank 0 has to clean up its folder after another rank ended; a hung device is not waited for. */
const orderMs = 10_000;

export interface RankSession {
  readonly ranks: Ranks;
  /** Reports to the user, from rank 0 only. */
  readonly say: (text: string) => void;
  /** Reports the effect of a signal, unless it came from a launcher that ends all ranks because one has ended. */
  readonly sayOfSignal: (text: string) => void;
}

/** Milliseconds within which the reason for a launcher's signal would follow. */
const reasonMs = 1500;

const print = (text: string): void => void process.stderr.write(`${escapeControls(text)}\n`);

/** Runs `body` on every rank that a launcher started, or on the only process. */
export async function inRankSession<T>(body: (session: RankSession) => Promise<T>): Promise<T> {
  let isLost = false;
  const lost = (message: string | undefined, isFirst: boolean) => {
    isLost = true;
    if (message !== undefined) print(message);
    if (!isFirst) process.exit(1);
    setTimeout(() => process.exit(1), orderMs).unref();
  };
  // Compared before anything else, since the protocol between ranks depends on it.
  const ranks = await joinRanks(process.env, lost, { "the version of heddle": heddleVersion() }).catch((error) => {
    if (isLost) process.exit(1);
    throw error;
  });
  const { isFirst } = ranks;
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
