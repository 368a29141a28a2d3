/** The protocol between ranks and the watcher process: lines of JSON. */
import type { Socket } from "node:net";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { goOn } from "../resume-hints.ts";
import type { MissingRanks, StartedRank } from "./node-starting-ranks.ts";

/** `lost` is sent to ranks, everything else by them. */
export type Line =
  | { readonly hello: { readonly rank: number; readonly token: string } }
  | { readonly failed: string }
  | { readonly lost: true }
  | { readonly bye: true };

/**
 * The first message to the watcher: the processes of all ranks, and the token with which they authenticate. It is null
 * if the ranks cannot start, which has been reported.
 */
export interface Watched {
  readonly token: string;
  readonly ranks: readonly RankProcess[];
}

export interface RankProcess {
  readonly host: string;
  readonly pid: number;
}

export const nameOf = (rank: number, { host, pid }: RankProcess): string => `rank ${rank} (process ${pid} on ${host})`;

/** Of ranks on this machine. */
export const namesOf = (ranks: readonly StartedRank[]): readonly string[] =>
  ranks.map(({ rank, pid }) => nameOf(rank, { host: hostname(), pid }));

export const send = (socket: { write(text: string): unknown }, line: Line): void =>
  void socket.write(`${JSON.stringify(line)}\n`);

/** Seconds without an answer after which a machine is asked whether it still exists. */
const silentSeconds = 10;

/**
 * Calls `heard` with every line. A connection that breaks, or whose machine is gone, is closed: nothing else is told.
 */
export function listen(socket: Socket, heard: (line: Line) => void): void {
  socket.setKeepAlive(true, 1000 * silentSeconds);
  socket.on("error", () => {}); // "close" follows
  createInterface({ input: socket })
    .on("error", () => {}) // that of the socket, which would end the process here too
    .on("line", (text) => {
      const line = parsed(text);
      if (line) heard(line);
    });
}

/** Undefined for lines of anyone else who connects to the port. */
function parsed(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined;
  }
}

export const ended = (name: string): string => `${name} ended unexpectedly, so all ranks stop: ${goOn}`;

export const endedAtStart = (names: readonly string[]): string =>
  `${names.join(", ")} ended before the ranks were connected, so all ranks stop`;

/** The ranks without a process, by number unless ranks of other machines may be meant. */
export const missingAtStart = (host: string, { count, of, ranks }: MissingRanks): string =>
  endedAtStart(ranks ? ranks.map((rank) => `rank ${rank}`) : [`${count} of the ${of} ranks on ${host}`]);

/** The most ranks that are listed in a message. */
const mostListed = 8;

/**
 * For when the first to end is not known. `unseen` are ranks that were not seen on the machine of rank 0, `seen` those
 * that were, whose launcher may know the first by its process only.
 */
export function allEndedAtStart(host: string, unseen: readonly number[], seen: readonly StartedRank[]): string {
  const count = unseen.length;
  const which = count <= 4 ? `${count > 1 ? "ranks" : "rank"} ${unseen.join(", ")}` : `${count} ranks`;
  const processes = seen.map(({ rank, pid }) => `rank ${rank} was process ${pid}`).join(", ");
  const listed = seen.length > 0 && seen.length <= mostListed ? `: ${processes}` : "";
  const of =
    count > 0 ? `: ${host} never heard from ${which}` : `; see the launcher's output for which was the first${listed}`;
  return `the ranks ended before they were connected${of}`;
}
