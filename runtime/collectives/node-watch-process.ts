/**
 * A watcher process to which every rank holds a socket: it notices at once that a rank has ended, however it ended, and
 * reports it. It is not one of the launcher's processes, because a launcher may kill all ranks as soon as one is gone,
 * before any of them can report it.
 */
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { ended, type Line, listen, send, type Watched } from "./node-watch-lines.ts";

/** Milliseconds to wait before reporting another rank's failure: rank 0 may fail the same way and report it itself. */
const alikeMs = 1000;
/**
 * Milliseconds without any connected rank after which the watcher exits: the ranks may have been killed before they
 * connected.
 */
const aloneMs = 30_000;

function watch({ size, token, names }: Watched, onListening: (port: number) => void): void {
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
  const closed = (rank: number) => {
    open -= 1;
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
const input = createInterface({ input: process.stdin });
input.once("line", (text) => {
  watch(JSON.parse(text) as Watched, (port) => process.stdout.write(`${port}\n`));
  input.close();
  process.stdin.destroy();
});
