/** What the watcher reports of ranks that end before they have connected to it; no launcher is needed for that. */
import { type ChildProcess, spawn } from "node:child_process";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { startingRanks } from "../../runtime/collectives/node-starting-ranks.ts";
import type { Watched } from "../../runtime/collectives/node-watch-lines.ts";

const watcherFile = fileURLToPath(new URL("../../runtime/collectives/node-watch-process.ts", import.meta.url));
const started: { kill(signal: NodeJS.Signals): void }[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

/** A process that looks like a rank, once it has printed a line. */
async function rank(number: number, of: number, env: Readonly<Record<string, string>> = {}): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", "console.log(); setInterval(() => {}, 1000)"], {
    env: { ...process.env, ...env, PMI_SIZE: `${of}`, PMI_RANK: `${number}` },
    stdio: ["ignore", "pipe", "ignore"],
  });
  started.push(child);
  await once(child.stdout!);
  return child;
}

/** The processes of ranks 0 and 1 of three. The shell that started them, the first process of their session, has ended. */
async function ranksOfEndedSession(): Promise<number[]> {
  const command = `"$NODE" -e "console.log(process.pid); setInterval(() => {}, 1000)" &`;
  const shell = spawn("sh", ["-c", `PMI_RANK=0 ${command} PMI_RANK=1 ${command}`], {
    env: { ...process.env, NODE: process.execPath, PMI_SIZE: "3" },
    stdio: ["ignore", "pipe", "ignore"],
    detached: true,
  });
  const ended = new Promise((resolve) => shell.once("exit", resolve));
  const pids: number[] = [];
  for await (const line of createInterface({ input: shell.stdout })) {
    const pid = Number(line);
    started.push({ kill: (signal) => process.kill(pid, signal) });
    if (pids.push(pid) === 2) break;
  }
  await ended;
  return pids;
}

const once = (stream: NodeJS.ReadableStream) =>
  new Promise<string>((resolve) => createInterface({ input: stream }).once("line", resolve));

const nameOf = (number: number, { pid }: ChildProcess) => `rank ${number} (process ${pid} on ${hostname()})`;

const kill = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.kill("SIGKILL");
  });

/** The watcher that rank 0 starts. */
function watcher(first: ChildProcess) {
  const child = spawn(process.execPath, [watcherFile, `${first.pid}`], { stdio: ["pipe", "pipe", "pipe"] });
  started.push(child);
  return { stdin: child.stdin, port: once(child.stdout), told: once(child.stderr) };
}

describe.runIf(process.platform === "linux")("ranks that end before they have connected", () => {
  it("are found among the processes of their launch", async () => {
    const [zero, one] = [await rank(0, 3), await rank(1, 3)];
    const other = await rank(2, 3, { PMIX_NAMESPACE: "another launch" });
    const ranks = startingRanks(zero.pid!);
    ranks.look();
    expect([ranks.ended(), ranks.unseen()]).toEqual([[], [2]]);
    await kill(other);
    await kill(one);
    await kill(zero);
    ranks.connected(0); // its socket tells its end
    expect(ranks.ended()).toEqual([{ rank: 1, pid: one.pid }]);
  });

  it("are found in a session whose first process has ended", async () => {
    const pids = await ranksOfEndedSession();
    const ranks = startingRanks(pids[0]!);
    ranks.look();
    expect(ranks.unseen()).toEqual([2]);
  });

  it("are named once MPI has joined them", async () => {
    const [zero, one] = [await rank(0, 2), await rank(1, 2)];
    const { stdin, port, told } = watcher(zero);
    const watched: Watched = { token: "", ranks: [zero, one].map(({ pid }) => ({ host: hostname(), pid: pid! })) };
    stdin.end(`${JSON.stringify(watched)}\n`);
    expect(Number(await port)).toBeGreaterThan(0);
    await kill(one);
    expect(await told).toBe(`${nameOf(1, one)} ended before the ranks were connected, so all ranks stop`);
  });

  it("are named by those that are there when rank 0 ends", async () => {
    const [zero] = [await rank(0, 3), await rank(1, 3)];
    const { stdin, told } = watcher(zero);
    stdin.end();
    expect(await told).toBe(`the ranks ended before they were connected: ${hostname()} never heard from rank 2`);
  });
});
