/**
 * Watching the other ranks: each holds a socket to a process that rank 0 starts, which reports when one of them has
 * ended.
 */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { extname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { UsageError } from "../../compiler/index.ts";
import { goOn } from "../resume-hints.ts";
import { agreements } from "./agreements.ts";
import type { Collectives } from "./collectives.ts";
import { differences, type Facts, RanksDifferError } from "./differences.ts";
import { launchedProcess } from "./node-launched-processes.ts";
import { listen, nameOf, type RankProcess, send, type Watched } from "./node-watch-lines.ts";
import type { Watch } from "./watch.ts";

/** What a rank says of itself. */
interface Who extends RankProcess {
  /** What must be the same on all; older versions say nothing. */
  readonly facts?: Facts;
}

/** Milliseconds to wait for an address to answer. */
const answerMs = 5000;

/**
 * `onLost` is called once. By then the loss has been reported, unless the watcher itself has ended: then rank 0 is
 * passed a message to report. Throws RanksDifferError on every rank if any rank's facts differ.
 */
export async function watchRanks(
  collectives: Collectives,
  { watcher, facts }: { readonly watcher: Watcher | undefined; readonly facts: Facts },
  onLost: (message?: string) => void,
): Promise<Watch> {
  const { rank, size, node } = collectives;
  const ranks = agreements(collectives);
  const who = await ranks.tell<Who>({ host: hostname(), pid: process.pid, facts });
  const found = differences(who.map(({ facts }) => facts ?? {}));
  // The first rank that compares tells it: older versions do not.
  if (found.length > 0) throw new RanksDifferError(found, rank === who.findIndex(({ facts }) => facts !== undefined));
  const hosts = node.size === size ? ["127.0.0.1"] : addresses();
  const place = await ranks.decide(async () => {
    const token = randomBytes(16).toString("hex");
    return { hosts, token, port: await watcher!.watch({ token, ranks: who.map(({ host, pid }) => ({ host, pid })) }) };
  });
  const socket = await firstAnswering(place.hosts, place.port, nameOf(0, who[0]!));
  let isOver = false;
  const over = (message?: string) => {
    if (isOver) return;
    isOver = true;
    onLost(message);
  };
  socket.unref();
  listen(socket, (line) => {
    if ("lost" in line) over();
  });
  const gone = `the process that watches the ranks has ended, so all ranks stop: ${goOn}`;
  socket.on("close", () => over(rank === 0 ? gone : undefined));
  send(socket, { hello: { rank, token: place.token } });
  return {
    fails: async (message) => {
      isOver = true;
      await new Promise<void>((resolve) => socket.end(`${JSON.stringify({ failed: message })}\n`, () => resolve()));
    },
    dispose: () => {
      isOver = true;
      send(socket, { bye: true });
      socket.end();
    },
  };
}

/** A started watcher process that does not yet know its ranks. */
export interface Watcher {
  /** Sends it the ranks, and returns its port. */
  watch(watched: Watched): Promise<number>;
  /** Rejects if it cannot start or ends early; never resolves. */
  readonly failed: Promise<never>;
  /** Ends it when there is nothing to watch. */
  dispose(): Promise<void>;
}

/**
 * Starts the watcher in a session of its own. It writes to this process's stderr, and ends when all ranks have. Call
 * this before MPI opens its sockets: the watcher would inherit them, and at the end another rank would wait for them to
 * close.
 */
export function startWatcher(): Watcher {
  const file = fileURLToPath(new URL(`./node-watch-process${extname(import.meta.url)}`, import.meta.url));
  // Rank 0 may have ended before the watcher could look it up.
  const own = JSON.stringify(launchedProcess(process.pid) ?? null);
  const child = spawn(process.execPath, [file, own], {
    detached: true,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const failed = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("exit", (status) => reject(new Error(`the process that watches the ranks ended with status ${status}`)));
  });
  failed.catch(() => {}); // reported to whoever waits for it or asks for the port
  const port = new Promise<number>((resolve) => {
    createInterface({ input: child.stdout }).once("line", (text) => resolve(Number(text)));
  });
  const leave = () => {
    child.removeAllListeners("exit");
    child.stdin.destroy();
    child.stdout.destroy();
    child.unref();
  };
  return {
    failed,
    watch: async (watched) => {
      child.stdin.end(`${JSON.stringify(watched)}\n`);
      const found = await Promise.race([port, failed]);
      leave();
      return found;
    },
    dispose: async () => {
      if (!child.stdin.writable) return;
      await new Promise<void>((resolve) => child.stdin.end("null\n", () => resolve()));
      leave();
    },
  };
}

/** Addresses at which other machines reach this one. */
const addresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).filter((a) => !a.internal && a.family === "IPv4").map((a) => a.address),
  );

async function firstAnswering(hosts: readonly string[], port: number, first: string): Promise<Socket> {
  for (const host of hosts) {
    const socket = connect({ host, port, noDelay: true, timeout: answerMs });
    const isOpen = await new Promise<boolean>((resolve) => {
      socket.once("connect", () => resolve(true));
      for (const event of ["error", "timeout"]) socket.once(event, () => resolve(false));
    });
    if (isOpen) {
      socket.setTimeout(0);
      return socket;
    }
    socket.destroy();
  }
  throw new UsageError(
    `the process that ${first} started to watch the ranks cannot be reached at ${hosts.map((h) => `${h}:${port}`).join(", ")}: allow connections to this address between the machines`,
  );
}
