/**
 * A lock that lets one process at a time work in a run's folder. The name of an empty file identifies the holder, so
 * that it can never be half-written.
 */
import { readFileSync } from "node:fs";
import { open, readdir, rm, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { explainingFaults } from "../file-errors.ts";
import { errorCode } from "../file-system.ts";
import { beginAnew } from "../resume-hints.ts";
import type { RunLock } from "./host.ts";
import { FolderInUseError } from "./in-use.ts";

interface Holder {
  readonly path: string;
  readonly pid: number;
  /** Start time of the process, in clock ticks since boot, since pids are reused. 0 when unknown. */
  readonly began: number;
  readonly host: string;
}

const namePattern = /^\.lock-(\d+)-(\d+)-(.+)$/;
const thisHost = hostname()
  .replace(/[^A-Za-z0-9.-]/g, "_")
  .slice(0, 100);

/**
 * Locks held by this thread, and how to release each for the others of this process. Any other file with its pid was
 * left by an earlier process with the same pid, or by a thread that was terminated.
 */
const held = new Map<string, () => void>();

/** Milliseconds within which a new holder may only be probing, and back off as this process does. */
const lookingMs = 1000;
const attempts = 6;

/**
 * Locks a run's folder for this process. Throws UsageError saying who holds it. Each process first creates its file and
 * then looks for others, so that of two that start together at least one sees the other. A killed process leaves its
 * file, which the next one removes.
 */
export async function lockRunFolder(folder: string): Promise<RunLock> {
  return await explainingFaults("lock", folder, async () => {
    for (let attempt = 1; ; attempt++) {
      const path = await leaveName(folder);
      const other = await otherHolder(folder, path);
      if (!other) return { dispose: () => takeBack(path) };
      await takeBack(path);
      if (attempt === attempts || Date.now() - other.since.getTime() > lookingMs) throw inUse(folder, other);
      await sleep(50 + 250 * Math.random());
    }
  });
}

async function leaveName(folder: string): Promise<string> {
  const path = join(folder, `.lock-${process.pid}-${processOf(process.pid)?.began ?? 0}-${thisHost}`);
  if (held.has(path) || !(await holdAmongThreads(path)))
    throw new FolderInUseError(`${folder} is in use by this process`);
  try {
    await rm(path, { force: true });
    await (await open(path, "wx")).close();
    return path;
  } catch (error) {
    release(path);
    throw error;
  }
}

async function takeBack(path: string): Promise<void> {
  await rm(path, { force: true });
  release(path);
}

/**
 * Whether no other thread of this process holds the lock; it is then held. The first releases of Node 24 lack locks.
 */
async function holdAmongThreads(path: string): Promise<boolean> {
  const { promise: released, resolve } = Promise.withResolvers<void>();
  held.set(path, resolve);
  const locks = globalThis.navigator?.locks as LockManager | undefined;
  if (!locks) return true;
  const isFree = await new Promise<boolean>((answer) => {
    void locks.request(`heddle run ${path}`, { ifAvailable: true }, (lock) => {
      answer(lock !== null);
      return lock ? released : undefined;
    });
  });
  if (!isFree) held.delete(path);
  return isFree;
}

function release(path: string): void {
  held.get(path)?.();
  held.delete(path);
}

/** Another process that holds the folder; files of processes that have ended are removed. */
async function otherHolder(folder: string, own: string): Promise<(Holder & { readonly since: Date }) | undefined> {
  for (const name of await readdir(folder)) {
    const holder = holderOf(folder, name);
    if (!holder || holder.path === own) continue;
    if (isGone(holder)) {
      await rm(holder.path, { force: true });
      continue;
    }
    const since = await stat(holder.path).then(
      (s) => s.mtime,
      (error: unknown) => {
        if (errorCode(error) === "ENOENT") return undefined; // released meanwhile
        throw error;
      },
    );
    if (since) return { ...holder, since };
  }
  return undefined;
}

function holderOf(folder: string, name: string): Holder | undefined {
  const match = namePattern.exec(name);
  if (!match) return undefined;
  return { path: join(folder, name), pid: Number(match[1]), began: Number(match[2]), host: match[3]! };
}

/** Whether the process has ended; unknown, and thus false, for a process on another machine. */
function isGone({ pid, began, host }: Holder): boolean {
  if (host !== thisHost) return false;
  if (pid === process.pid && began === 0) return true; // otherwise it would be in `held`
  try {
    process.kill(pid, 0);
  } catch (error) {
    return errorCode(error) === "ESRCH";
  }
  const now = processOf(pid);
  return now !== undefined && (now.isZombie || (began > 0 && now.began !== began));
}

/** A process's entry on Linux: the fields of /proc/<pid>/stat after the name, proc(5). Undefined elsewhere. */
function processOf(pid: number): { readonly began: number; readonly isZombie: boolean } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return { began: Number(fields[19]), isZombie: fields[0] === "Z" || fields[0] === "X" };
  } catch {
    return undefined;
  }
}

function inUse(folder: string, { path, pid, host, since }: Holder & { readonly since: Date }): FolderInUseError {
  const when = since.toISOString().replace("T", " ").slice(0, 19);
  const [where, hint] =
    host === thisHost
      ? [`this machine (${host})`, `wait until it ends, end it with kill ${pid}, or ${beginAnew}`]
      : [`the machine ${host}`, `wait until it ends; if it is no longer running, remove ${path}`];
  return new FolderInUseError(
    `${folder} is in use: process ${pid} on ${where} has held it since ${when} UTC\n  hint: ${hint}`,
  );
}
