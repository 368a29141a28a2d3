/**
 * A watcher process to which every rank holds a socket: it notices at once that a rank has ended, however it ended, and
 * reports it. It is not one of the launcher's processes, because a launcher may kill all ranks as soon as one is gone,
 * before any of them can report it.
 */
import { createServer, type Socket } from "node:net";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import type { LaunchedProcess } from "./node-launched-processes.ts";
import { listenAtStart } from "./node-start-sockets.ts";
import { startingRanks } from "./node-starting-ranks.ts";
import { ended, endedAtStart, type Line, listen, nameOf, namesOf, send, type Watched } from "./node-watch-lines.ts";
import { watchStart } from "./node-watch-start.ts";

/** Milliseconds to wait before reporting another rank's failure: rank 0 may fail the same way and report it itself. */
const alikeMs = 1000;
/**
 * Milliseconds without any connected rank after which the watcher exits: the ranks may have been killed before they
 * connected.
 */
const aloneMs = 30_000;
/** Milliseconds between looks at the processes of ranks that have not connected yet. */
const lookMs = 100;
/** Rank 0, if this system shows processes. */
const own = (JSON.parse(process.argv[2]!) as LaunchedProcess | null) ?? undefined;
const starting = startingRanks(own);

function watch({ token, ranks }: Watched, onListening: (port: number) => void): void {
  const size = ranks.length;
  const names = ranks.map((process, rank) => nameOf(rank, process));
  const sockets = new Map<number, Socket>();
  const leaving = new Set<number>();
  let open = 0;
  let isOver = false;
  let failed: string | undefined;
  const over = (message?: string) => {
    if (isOver) return;
    isOver = true;
    failed = undefined;
    if (message !== undefined) process.stderr.write(`${message}\n`);
    for (const socket of sockets.values()) if (!socket.destroyed) send(socket, { lost: true });
  };
  const overAsOneFailed = () => failed !== undefined && over(failed);
  const heard = (rank: number, line: Line) => {
    if ("bye" in line || "failed" in line) leaving.add(rank);
    if (!("failed" in line)) return;
    if (rank === 0) return over(); // rank 0 reports it itself
    failed ??= `rank ${rank}: ${line.failed}`;
    setTimeout(overAsOneFailed, alikeMs);
  };
  const look = () => {
    const lost = namesOf(starting.ended());
    if (lost.length > 0) over(failed ?? endedAtStart(lost));
    if (isOver || sockets.size === size) clearInterval(looking);
  };
  for (const [rank, { host, pid }] of ranks.entries()) if (host === hostname()) starting.add(rank, pid);
  const looking = setInterval(look, lookMs).unref();
  const closed = (rank: number) => {
    open -= 1;
    if (!leaving.has(rank)) look(); // a rank may have ended unconnected, and the launcher then killed this one
    if (!leaving.has(rank)) over(failed ?? ended(names[rank]!)); // without delay: launchers kill all other ranks too
    if (open > 0) return;
    overAsOneFailed();
    if (sockets.size === size) server.close();
    else endIfAlone();
  };
  const endIfAlone = () => void setTimeout(() => open === 0 && process.exit(1), aloneMs).unref();
  const server = createServer((socket) => {
    let rank: number | undefined;
    listen(socket, (line) => {
      if (rank === undefined && "hello" in line && line.hello.token === token) {
        rank = line.hello.rank;
        sockets.set(rank, socket);
        starting.connected(rank);
        open += 1;
        if (isOver) send(socket, { lost: true });
      } else if (rank !== undefined) heard(rank, line);
    });
    socket.on("close", () => {
      if (rank !== undefined) closed(rank);
    });
  });
  server.listen(0, () => onListening((server.address() as { port: number }).port));
  endIfAlone();
}

// Signals are left to the ranks: this process exits once all of them have ended.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"] as const) process.on(signal, () => {});

const socket = own && listenAtStart("watcher", own);
const hint = own?.launch.hint === undefined ? "" : `\n  hint: ${own.launch.hint}`;
let telling: Promise<void> | undefined;
/** Unless a rank has reported it. */
async function tell(message: string): Promise<void> {
  if (own && !(await listenAtStart("report", own))) return;
  process.stderr.write(`${message}${hint}\n`);
}
const start = watchStart(starting, {
  tell: (message) => void (telling = tell(message)),
  allEnded: async () => {
    await telling;
    process.exit(1);
  },
});
// Their readers may have ended.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
const input = createInterface({ input: process.stdin });
input.once("line", (text) => {
  input.removeAllListeners("close");
  const watched = JSON.parse(text) as Watched | null;
  if (watched) {
    start.end();
    socket?.then((listening) => listening?.close());
    watch(watched, (port) => process.stdout.write(`${port}\n`));
  } else start.isReported();
  input.close();
  process.stdin.destroy();
});
input.once("close", start.firstHasEnded);
