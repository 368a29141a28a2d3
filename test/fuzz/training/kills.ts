/** Kills training runs, at random moments and during writes, and compares their results with an uninterrupted run's. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { newestRunFolder, type RandomStream, randomStream } from "../../../runtime/index.ts";
import { type KillKindName, preparedKind } from "./kill-kinds.ts";
import { differences, outcomesBelow } from "./outcome.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export interface KillOptions {
  readonly kind?: KillKindName;
  /** Kills in all. */
  readonly times: number;
  readonly device: "cpu" | "webgpu";
  readonly seed: number;
  /** Steps of each stage. */
  readonly steps: number;
  readonly tell: (text: string) => void;
}

export interface KillReport {
  readonly kills: number;
  /** Of those, at a file system operation. */
  readonly inWrites: number;
  readonly runs: number;
  /** How a killed run differs from the uninterrupted one. */
  readonly findings: readonly string[];
}

/** Starts and resumes runs until `times` kills have happened and the last run has finished. */
export async function tryKills({ kind = "job", times, device, seed, steps, tell }: KillOptions): Promise<KillReport> {
  const root = mkdtempSync(join(tmpdir(), "heddle-kills-"));
  const draw = randomStream(seed, `kills of ${kind}`);
  try {
    const { run, given } = await preparedKind(kind, root);
    const args = [...given, "--device", device, "--set", `steps=${steps}`];
    const whole = await runWhole(join(root, "whole"), args, join(root, "operations"));
    const findings: string[] = [];
    let [kills, inWrites, runs, life] = [0, 0, 0, 0];
    while (kills < times) {
      const folder = join(root, `run-${runs++}`);
      mkdirSync(folder);
      const place = () => `run ${runs - 1} of ${kind}, life ${life} (seed ${seed})`;
      for (let ended = false; !ended; life++) {
        const kill = kills < times ? killIn(life, draw, whole) : {};
        const begun = await newestRunFolder(folder, run).catch(() => undefined);
        const { status, err } = await heddle([...args, "--runs", folder, ...(begun ? ["--resume"] : [])], kill);
        ended = status === 0;
        if (status === null) {
          kills++;
          if (kill.atOperation) inWrites++;
        } else if (status !== 0) {
          findings.push(`${place()} ended with ${status}:\n${err}`);
          break;
        }
        if (ended) findings.push(...differences(whole.left, outcomesBelow(folder)).map((d) => `${place()}: ${d}`));
      }
      rmSync(folder, { recursive: true });
      tell(`${kind}: ${kills} kills, ${inWrites} of them in writes; ${runs} runs; ${findings.length} findings`);
    }
    return { kills, inWrites, runs, findings };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

/** What a run that is left alone takes and leaves. */
interface Whole {
  readonly ms: number;
  readonly operations: number;
  readonly left: object;
}

async function runWhole(folder: string, args: readonly string[], countIn: string): Promise<Whole> {
  const begun = performance.now();
  const { status, err } = await heddle([...args, "--runs", folder], { countIn });
  if (status !== 0) throw new Error(`the run that is left alone failed: ${err}`);
  const ms = performance.now() - begun;
  return { ms, operations: Number(readFileSync(countIn, "utf8")), left: outcomesBelow(folder) };
}

interface Kill {
  readonly atOperation?: number;
  readonly afterMs?: number;
  /** A file for the number of file system operations. */
  readonly countIn?: string;
}

/** When a process is killed: half of them at a moment, half at a file system operation. */
function killIn(life: number, draw: RandomStream, { ms, operations }: Whole): Kill {
  if (draw.uniform(3 * life) < 0.5) return { atOperation: 1 + draw.integer(3 * life + 1, operations) };
  return { afterMs: draw.uniform(3 * life + 2) * ms * 1.1 };
}

/** `heddle train` in its own process; the status is null where it was killed. */
async function heddle(args: readonly string[], { atOperation, afterMs, countIn }: Kill) {
  const before = ["--import", here("kill-preload.ts"), here("../../../bin/heddle.js"), "train"];
  const child = spawn(process.execPath, [...before, ...args], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: join(tmpdir(), "heddle-kills-compiled"),
      ...(atOperation !== undefined && { KILL_AT: String(atOperation) }),
      ...(countIn !== undefined && { COUNT_IN: countIn }),
    },
  });
  let err = "";
  child.stderr.on("data", (text) => {
    err += String(text);
  });
  const timer = afterMs === undefined ? undefined : setTimeout(() => child.kill("SIGKILL"), afterMs);
  const [status] = (await once(child, "close")) as [number | null];
  clearTimeout(timer);
  return { status, err };
}
