/**
 * Notices at once that a rank has ended, however it did: its socket closes. Rank 0 has one to each other rank and tells all;
 * where rank 0 itself is gone, rank 1 does.
 */
import { randomBytes } from "node:crypto";
import { connect, createServer, type Socket } from "node:net";
import { hostname, networkInterfaces } from "node:os";
import { createInterface } from "node:readline";
import { UsageError } from "../../compiler/index.ts";
import { agreements } from "./agreements.ts";
import type { Collectives } from "./collectives.ts";
import type { Watch } from "./watch.ts";

/** Lines of JSON, either way. `lost` is told by rank 0 alone. */
type Line =
  | { readonly hello: { readonly rank: number; readonly token: string } }
  | { readonly failed: string }
  | { readonly lost: true }
  | { readonly bye: true };

/** Who a rank is, as people find it. */
interface Who {
  readonly host: string;
  readonly pid: number;
}

/** Called once: with a message where this rank is to tell it. */
type OnLost = (message: string | undefined) => void;

/** Milliseconds in which an address of rank 0 must answer, and in which rank 0 may fail as another did and tell it itself. */
const answerMs = 5000;
const alikeMs = 1000;

export async function watchRanks(collectives: Collectives, onLost: OnLost): Promise<Watch> {
  const { rank, size, node } = collectives;
  const ranks = agreements(collectives);
  const who = await ranks.tell<Who>({ host: hostname(), pid: process.pid });
  const nameOf = (r: number) => `rank ${r} (process ${who[r]!.pid} on ${who[r]!.host})`;
  const hub = rank === 0 ? await openHub(size, nameOf, onLost) : undefined;
  const hosts = node.size === size ? ["127.0.0.1"] : addresses();
  const place = await ranks.decide(() => ({ hosts, port: hub!.port, token: hub!.token }));
  if (hub) {
    await hub.joined;
    hub.unref(); // from now on it holds no process that is done
    return hub.watch;
  }
  return await openSpoke(place, rank, nameOf(0), onLost);
}

/** Where other machines find this one. */
const addresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((list) =>
    (list ?? []).filter((a) => !a.internal && a.family === "IPv4").map((a) => a.address),
  );

const send = (socket: Socket, line: Line): void => void socket.write(`${JSON.stringify(line)}\n`);

const ended = (name: string) =>
  `${name} has ended without a word, and all ranks end with it: go on from the newest checkpoint with --resume`;

async function openHub(size: number, nameOf: (rank: number) => string, onLost: OnLost) {
  const token = randomBytes(16).toString("hex");
  const sockets = new Map<number, Socket>();
  const leaving = new Set<number>();
  let isOver = false;
  let allHere = () => {};
  const joined = new Promise<void>((resolve) => {
    allHere = resolve;
  });
  const tellLost = (): boolean => {
    if (isOver) return false;
    isOver = true;
    for (const socket of sockets.values()) if (!socket.destroyed) send(socket, { lost: true });
    return true;
  };
  const over = (message: string) => {
    if (tellLost()) onLost(message);
  };
  const server = createServer((socket) => {
    let rank: number | undefined;
    socket.unref();
    socket.on("error", () => {}); // it closes next
    createInterface({ input: socket }).on("line", (text) => {
      const line = parsed(text);
      if (!line) return;
      if ("hello" in line && line.hello.token === token) {
        rank = line.hello.rank;
        sockets.set(rank, socket);
        if (sockets.size === size - 1) allHere();
      }
      if (rank === undefined) return;
      if ("bye" in line) leaving.add(rank);
      if ("failed" in line) {
        leaving.add(rank);
        setTimeout(over, alikeMs, `rank ${rank}: ${line.failed}`);
      }
    });
    socket.on("close", () => {
      if (rank === undefined || leaving.has(rank)) return;
      over(ended(nameOf(rank))); // at once: launchers end all others too
    });
  });
  await new Promise<void>((resolve) => server.listen(0, resolve));
  const { port } = server.address() as { port: number };
  const watch: Watch = {
    fails: async () => void tellLost(), // in its own words
    dispose: () => {
      isOver = true;
      for (const socket of sockets.values()) {
        send(socket, { bye: true });
        socket.end();
      }
      server.close();
    },
  };
  return { port, token, joined, unref: () => server.unref(), watch };
}

async function openSpoke(
  { hosts, port, token }: { readonly hosts: readonly string[]; readonly port: number; readonly token: string },
  rank: number,
  hub: string,
  onLost: OnLost,
): Promise<Watch> {
  const socket = await firstAnswering(hosts, port, hub);
  let isOver = false;
  const over = (message: string | undefined) => {
    if (isOver) return;
    isOver = true;
    onLost(message);
  };
  socket.unref();
  socket.on("error", () => {}); // it closes next
  createInterface({ input: socket }).on("line", (text) => {
    const line = parsed(text);
    if (line && "lost" in line) over(undefined);
    if (line && "bye" in line) isOver = true;
  });
  socket.on("close", () => over(rank === 1 ? ended(hub) : undefined));
  send(socket, { hello: { rank, token } });
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

async function firstAnswering(hosts: readonly string[], port: number, hub: string): Promise<Socket> {
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
    `${hub} does not answer at ${hosts.map((h) => `${h}:${port}`).join(", ")}, where ranks watch each other: open that way between the machines`,
  );
}

function parsed(text: string): Line | undefined {
  try {
    return JSON.parse(text) as Line;
  } catch {
    return undefined; // whoever else comes to this port
  }
}
