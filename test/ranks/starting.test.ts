/** What the watcher reports of ranks that end before they have connected to it; no launcher is needed for that. */
import { type ChildProcess, spawn } from "node:child_process";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { type LaunchedProcess, launchedProcess } from "../../runtime/collectives/node-launched-processes.ts";
import { type StartedRank, type StartingRanks, startingRanks } from "../../runtime/collectives/node-starting-ranks.ts";
import type { Watched } from "../../runtime/collectives/node-watch-lines.ts";
import { type StartWatch, watchStart } from "../../runtime/collectives/node-watch-start.ts";

const watcherFile = fileURLToPath(new URL("../../runtime/collectives/node-watch-process.ts", import.meta.url));
const started: { kill(signal: NodeJS.Signals): void }[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

/** A process that looks like a rank, once it has printed a line. */
const rank = (number: number, of: number, env: Readonly<Record<string, string>> = {}, comment = "") =>
  task({ ...env, PMI_SIZE: `${of}`, PMI_RANK: `${number}` }, comment);

async function task(env: Readonly<Record<string, string>>, comment = ""): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["-e", `console.log(); setInterval(() => {}, 1000)${comment}`], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "ignore"],
  });
  started.push(child);
  await once(child.stdout!);
  return child;
}

/** The process of a rank of three that runs a script, which imports by `at`. */
async function script(number: number, env: Readonly<Record<string, string>>, code: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
    env: { ...process.env, PMI_SIZE: "3", PMI_RANK: `${number}`, ...env },
    stdio: ["ignore", "pipe", "inherit"],
  });
  started.push(child);
  return child;
}

const at = (name: string) => JSON.stringify(new URL(`../../runtime/collectives/${name}.ts`, import.meta.url).href);
const awaiting = `console.log(await (await import(${at("node-await-watcher")})).awaitWatcher())`;
const listening = `const { launchedProcess } = await import(${at("node-launched-processes")});
  await (await import(${at("node-start-sockets")})).listenAtStart("watcher", launchedProcess(process.pid))`;
const joining = `const { launchedProcess } = await import(${at("node-launched-processes")});
  const { answersAtStart } = await import(${at("node-start-sockets")});
  const { joinRanks } = await import(${at("node-join-ranks")});
  await joinRanks(process.env, () => {}).catch(async () =>
    console.log(await answersAtStart("watcher", launchedProcess(process.pid))))`;
const reporting = (rank: number, atOnce: boolean) =>
  `console.log(await (await import(${at("node-start-report")})).isToReport({ rank: ${rank} }${atOnce ? ", true" : ""}))`;

/**
 * The processes of ranks 0 and 1 of three. The shell that started them, the first process of their session, has ended.
 */
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
function watcher(own: LaunchedProcess | undefined) {
  const child = spawn(process.execPath, [watcherFile, JSON.stringify(own)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  started.push(child);
  return { stdin: child.stdin, port: once(child.stdout), told: once(child.stderr), stderr: child.stderr };
}

describe.runIf(process.platform === "linux")("ranks that end before they have connected", () => {
  it("are found among the processes of their launch", async () => {
    const [zero, one] = [await rank(0, 3), await rank(1, 3)];
    const other = await rank(2, 3, { PMIX_NAMESPACE: "another launch" });
    const ranks = startingRanks(launchedProcess(zero.pid!));
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
    const ranks = startingRanks(launchedProcess(pids[0]!));
    ranks.look();
    expect(ranks.unseen()).toEqual([2]);
  });

  it("are found in their step of a Slurm job, with the number that Slurm started on the machine", async () => {
    const node = { SLURM_STEP_TASKS_PER_NODE: "2(x2),1", SLURM_NODEID: "1" };
    const step = (rank: number, id: number) => ({
      SLURM_JOB_ID: "7",
      SLURM_STEP_ID: `${id}`,
      SLURM_STEP_NUM_TASKS: "5",
      SLURM_PROCID: `${rank}`,
      ...node,
    });
    const [two, three] = [await task(step(2, 0)), await task(step(3, 0)), await task(step(4, 1))];
    const ranks = startingRanks(launchedProcess(two.pid!));
    ranks.look();
    expect([ranks.unseen(), ranks.missing()]).toEqual([[0, 1, 4], { count: 0, of: 2 }]);
    await kill(three);
    expect(ranks.ended()).toEqual([{ rank: 3, pid: three.pid }]);
    expect(startingRanks(launchedProcess(two.pid!)).missing()).toEqual({ count: 1, of: 2 });
  });

  it("are missing where not even a wrapper of theirs is left, among those that the launcher started here", async () => {
    const env = { PMIX_NAMESPACE: `missing ${process.pid}`, MPI_LOCALNRANKS: "4" };
    const [zero] = [await rank(0, 4, env), await rank(1, 4, env, "/* of a wrapper */"), await rank(3, 4)];
    const ranks = startingRanks(launchedProcess(zero.pid!));
    ranks.look();
    expect(ranks.missing()).toEqual({ count: 2, of: 4, ranks: [2, 3] });
    const others = await rank(0, 8, { ...env, MPI_LOCALNRANKS: "2" });
    expect(startingRanks(launchedProcess(others.pid!)).missing()).toEqual({ count: 1, of: 2 }); // another machine has six
    const unknown = await rank(0, 3);
    expect(startingRanks(launchedProcess(unknown.pid!)).missing().count).toBe(0);
  });

  it("are reported after a while if they are missing twice, and the others are killed", async () => {
    const left = await rank(0, 3);
    const missing = { count: 1, of: 3, ranks: [1] };
    const found = [missing, { count: 0, of: 3, ranks: [] }, missing, missing];
    const isAlive = () => left.exitCode === null && left.signalCode === null;
    const seen: StartingRanks = {
      look: () => {},
      add: () => {},
      connected: () => {},
      ended: () => [],
      alive: () => (isAlive() ? [{ rank: 0, pid: left.pid! }] : []),
      unseen: () => [1],
      missing: () => found.shift()!,
    };
    const told: string[] = [];
    const times = { look: 1, missing: 0, confirm: 1, launcher: 5, reported: 5 };
    let start: StartWatch | undefined;
    await new Promise<void>((allEnded) => {
      start = watchStart(seen, { tell: (message) => told.push(message), allEnded }, times);
    });
    start!.end();
    expect(told).toEqual(["rank 1 ended before the ranks were connected, so all ranks stop"]);
    expect([found, left.signalCode]).toEqual([[], "SIGKILL"]);
  });

  it("end the others before MPI_Init, rank 0 too", async () => {
    const env = { PMIX_NAMESPACE: `first ${process.pid}`, MPI_LOCALNRANKS: "3" };
    const waiting = await script(1, env, awaiting);
    expect(await once(waiting.stdout!)).toBe("ended");
  });

  it("are waited for until rank 0 watches or has reported an error", async () => {
    const env = { PMIX_NAMESPACE: `watched ${process.pid}`, MPI_LOCALNRANKS: "3" };
    const waiting = await script(1, env, awaiting);
    const listener = await script(0, env, listening);
    expect(await once(waiting.stdout!)).toBe("watched");
    await kill(listener);
    expect(await once((await script(1, { ...env, MPI_LOCALNRANKS: "1" }, awaiting)).stdout!)).toBe("elsewhere");
  });

  it("report an error that all have once, from rank 0 or one that is left", async () => {
    const told = async (name: string, ranks: readonly number[], atOnce: boolean) => {
      const env = { PMIX_NAMESPACE: `${name} ${process.pid}`, MPI_LOCALNRANKS: "3" };
      const asking = await Promise.all(ranks.map((r) => script(r, env, reporting(r, atOnce && r > 0))));
      return await Promise.all(asking.map((child) => once(child.stdout!)));
    };
    const [all, left] = [told("all", [0, 1, 2], false), told("left", [1, 2], true)];
    expect(await all).toEqual(["true", "false", "false"]);
    expect((await left).toSorted()).toEqual(["false", "true"]);
  });

  it("are named once MPI has joined them", async () => {
    const [zero, one] = [await rank(0, 2), await rank(1, 2)];
    const { stdin, port, told } = watcher(launchedProcess(zero.pid!));
    const watched: Watched = { token: "", ranks: [zero, one].map(({ pid }) => ({ host: hostname(), pid: pid! })) };
    stdin.end(`${JSON.stringify(watched)}\n`);
    expect(Number(await port)).toBeGreaterThan(0);
    await kill(one);
    expect(await told).toBe(`${nameOf(1, one)} ended before the ranks were connected, so all ranks stop`);
  });

  it("are named by those that are there when rank 0 ends", async () => {
    const [zero] = [await rank(0, 3), await rank(1, 3)];
    const { stdin, told } = watcher(launchedProcess(zero.pid!));
    stdin.end();
    expect(await told).toBe(`the ranks ended before they were connected: ${hostname()} never heard from rank 2`);
  });

  it("are listed with their processes, by which MPICH's launcher names the first", () => {
    const ended: StartedRank[] = [];
    const alive: StartedRank[] = [{ rank: 0, pid: 71 }];
    const seen: StartingRanks = {
      look: () => {},
      add: () => {},
      connected: () => {},
      ended: () => ended,
      alive: () => alive,
      unseen: () => [],
      missing: () => ({ count: 0, of: 3 }),
    };
    const told: string[] = [];
    const start = watchStart(seen, { tell: (message) => told.push(message), allEnded: () => {} });
    ended.push({ rank: 2, pid: 73 }, { rank: 1, pid: 72 });
    start.firstHasEnded();
    start.end();
    expect(told).toEqual([
      "the ranks ended before they were connected; see the launcher's output for which was the first: rank 0 was process 71, rank 1 was process 72, rank 2 was process 73",
    ]);
  });

  it("are named once where rank 0 ended before the watcher had started", async () => {
    const env = { PMIX_NAMESPACE: `gone ${process.pid}`, MPI_LOCALNRANKS: "2" };
    const [zero] = [await rank(0, 2, env), await rank(1, 2, env)];
    const own = launchedProcess(zero.pid!);
    await kill(zero);
    const { stdin, told } = watcher(own);
    stdin.end();
    expect(await told).toBe(`${nameOf(0, zero)} ended before the ranks were connected, so all ranks stop`);
    expect(await once((await script(1, { ...env, PMI_SIZE: "2" }, reporting(1, true))).stdout!)).toBe("false");
  });

  it("are reported with what to add where srun connects no ranks", async () => {
    const env = { SLURM_JOB_ID: "8", SLURM_STEP_ID: "0", SLURM_STEP_NUM_TASKS: "2" };
    const { stdin, stderr } = watcher(launchedProcess((await task({ ...env, SLURM_PROCID: "0" })).pid!));
    stdin.end();
    const lines: string[] = [];
    for await (const line of createInterface({ input: stderr })) if (lines.push(line) === 2) break;
    expect(lines[1]).toMatch(/^ {2}hint: add --mpi=pmix \(Open MPI\) or --mpi=pmi2 \(MPICH\) to srun/);
  });

  it("are watched before rank 0 calls MPI, which may end it at once", async () => {
    const env = { PMIX_NAMESPACE: `joined ${process.pid}`, MPI_LOCALNRANKS: "3", HEDDLE_MPI: "none/libmpi.so" };
    expect(await once((await script(0, env, joining)).stdout!)).toBe("true");
  });
});
