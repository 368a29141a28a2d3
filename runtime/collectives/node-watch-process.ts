/**
 * A process beside the ranks, to which each of them has a socket: it notices at once that one has ended, however it did, and says so.
 * It is none of the launcher's, which may kill all ranks as soon as one is gone, before any of them can speak.
 */
import { createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { ended, type Line, parsed, send, type Watched } from "./watch-lines.ts";

/** Milliseconds in which rank 0 may fail as another did, and tell it itself. */
const alikeMs = 1000;
/** Milliseconds without a rank after which there will be none: some may have been killed before they came. */
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
    if (rank === 0) return over(); // in its own words
    failed ??= `rank ${rank}: ${line.failed}`;
    setTimeout(overAsOneFailed, alikeMs);
  };
  const closed = (rank: number) => {
    open -= 1;
    if (!leaving.has(rank)) over(failed ?? ended(names[rank]!)); // at once: launchers end all others too
    if (open > 0) return;
    overAsOneFailed();
    if (sockets.size === size) server.close();
    else endIfAlone();
  };
  const endIfAlone = () => void setTimeout(() => open === 0 && process.exit(1), aloneMs).unref();
  const server = createServer((socket) => {
    let rank: number | undefined;
    socket.on("error", () => {}); // it closes next
    createInterface({ input: socket }).on("line", (text) => {
      const line = parsed(text);
      if (!line) return;
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

// What stops ranks is theirs to answer: this process ends when all of them have.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"] as const) process.on(signal, () => {});
const input = createInterface({ input: process.stdin });
input.once("line", (text) => {
  watch(JSON.parse(text) as Watched, (port) => process.stdout.write(`${port}\n`));
  input.close();
  process.stdin.destroy();
});
