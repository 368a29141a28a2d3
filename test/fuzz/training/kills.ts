/** Kills training runs, at random moments and during writes, and compares their results with an uninterrupted run's. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { newestRunFolder, randomStream } from "../../../runtime/index.ts";
import { readEvents } from "../../support/event-files.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export interface KillOptions {
  /** Kills in all. */
  readonly times: number;
  readonly device: "cpu" | "webgpu";
  readonly seed: number;
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

/** A process is killed within this many file system operations of its start. */
const operations = 130;

/** Starts and resumes runs until `times` kills have happened and the last run has finished. */
export async function tryKills({ times, device, seed, steps, tell }: KillOptions): Promise<KillReport> {
  const root = mkdtempSync(join(tmpdir(), "heddle-kills-"));
  const draw = randomStream(seed, "kills");
  const train = (runs: string, resume: boolean, kill: Kill = {}) => heddle(runs, resume, device, steps, kill);
  try {
    const begun = performance.now();
    const first = await train(join(root, "whole"), false);
    if (first.status !== 0) throw new Error(`the run that is left alone failed: ${first.err}`);
    const lasts = performance.now() - begun;
    const whole = outcomeOf(join(root, "whole", "hard"));
    const findings: string[] = [];
    let [kills, inWrites, runs, life] = [0, 0, 0, 0];
    while (kills < times) {
      const folder = join(root, `run-${runs++}`);
      mkdirSync(folder);
      for (let ended = false; !ended; life++) {
        const isInWrite = draw.uniform(3 * life) < 0.5;
        const isLeft = kills >= times;
        const kill: Kill = isLeft
          ? {}
          : isInWrite
            ? { atOperation: 1 + draw.integer(3 * life + 1, operations) }
            : { afterMs: draw.uniform(3 * life + 2) * lasts * 1.1 };
        const run = await newestRunFolder(folder, "hard").catch(() => undefined);
        const { status, err } = await train(folder, run !== undefined, kill);
        ended = status === 0;
        if (status === null) {
          kills++;
          if (isInWrite) inWrites++;
        } else if (status !== 0) {
          findings.push(`run ${runs - 1}, life ${life} ended with ${status} (seed ${seed}):\n${err}`);
          break;
        }
      }
      const at = await newestRunFolder(folder, "hard").catch(() => undefined);
      if (at) findings.push(...differences(whole, outcomeOf(at)).map((d) => `run ${runs - 1} (seed ${seed}): ${d}`));
      rmSync(folder, { recursive: true });
      tell(`${kills} kills, ${inWrites} of them in writes; ${runs} runs; ${findings.length} findings`);
    }
    return { kills, inWrites, runs, findings };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

interface Kill {
  readonly atOperation?: number;
  readonly afterMs?: number;
}

/** `heddle train` in its own process; the status is null where it was killed. */
async function heddle(runs: string, resume: boolean, device: string, steps: number, { atOperation, afterMs }: Kill) {
  const args = ["train", here("job.ts"), "--device", device, "--runs", runs, "--set", `steps=${steps}`];
  const child = spawn(process.execPath, [here("../../../bin/heddle.js"), ...args, ...(resume ? ["--resume"] : [])], {
    stdio: ["ignore", "ignore", "pipe"],
    env: {
      ...process.env,
      NODE_COMPILE_CACHE: join(tmpdir(), "heddle-kills-compiled"),
      ...(atOperation !== undefined && { KILL_AT: String(atOperation) }),
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

/**
 * What a run left: metrics of each step, the events that TensorBoard shows, the bytes of tensors, and all file names.
 */
export function outcomeOf(folder: string) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile())
    .map((f) => relative(folder, join(f.parentPath, f.name)))
    .sort();
  return {
    "metrics.jsonl": readFileSync(join(folder, "metrics.jsonl"), "utf8").split("\n").map(withoutTime),
    events: shownEvents(join(folder, "events")),
    ...Object.fromEntries(
      files.filter((f) => f.endsWith(".safetensors")).map((f) => [f, readFileSync(join(folder, f)).toString("base64")]),
    ),
    "best/": readdirSync(join(folder, "best")).map((step) => stateOf(join(folder, "best", step))),
    "checkpoints/": readdirSync(join(folder, "checkpoints")).map((step) => stateOf(join(folder, "checkpoints", step))),
    files: files.filter((f) => !f.startsWith("events/")),
  };
}

/** A line without its step's duration, which differs from run to run. */
function withoutTime(line: string): unknown {
  if (line === "") return line;
  const { seconds, ...figures } = JSON.parse(line);
  return { ...figures, hasTime: typeof seconds === "number" };
}

/** A checkpoint's state, without the number of checkpoints before it and the checksums. */
function stateOf(folder: string): unknown {
  const { sequence, sha256, ...said } = JSON.parse(readFileSync(join(folder, "state.json"), "utf8"));
  return said;
}

/** Files are read in name order; a session that starts at a step hides earlier events of that step and later ones. */
function shownEvents(folder: string): unknown[] {
  let shown: { readonly step: number; readonly value: unknown }[] = [];
  for (const name of readdirSync(folder).sort())
    for (const { step = 0, sessionLog, summary } of readEvents(join(folder, name))) {
      if (sessionLog) shown = shown.filter((e) => e.step < step);
      if (summary) shown.push({ step, value: summary.value });
    }
  return shown;
}

export function differences(whole: object, other: object): string[] {
  const [a, b] = [whole, other] as readonly Record<string, unknown>[];
  return [...new Set([...Object.keys(a!), ...Object.keys(b!)])]
    .filter((key) => !isDeepStrictEqual(a![key], b![key]))
    .map((key) => {
      const text = (x: unknown) => JSON.stringify(x)?.slice(0, 2000);
      return key.endsWith(".safetensors")
        ? `${key} is not the same`
        : `${key} is ${text(b![key])} instead of ${text(a![key])}`;
    });
}
