/** Runs each measurement in its own process, one at a time, so that no contender warms another's caches. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ContenderName } from "./cases.ts";
import type { Measurement } from "./subject.ts";

/** What a process measures. */
export interface Order {
  readonly name: string;
  readonly contender: ContenderName;
  readonly timed: number;
  readonly profile: boolean;
  /** Timeout in minutes. */
  readonly patience?: number | undefined;
}

/** A measurement, or why it failed. */
export type Outcome = { readonly measurement: Measurement } | { readonly failure: string };

type Environment = Readonly<Record<string, string>>;

/** Disables the drivers' on-disk shader caches, so that no pipeline comes from an earlier process. */
export const coldDrivers: Environment = { MESA_SHADER_CACHE_DISABLE: "true", __GL_SHADER_DISK_CACHE: "0" };

const script = fileURLToPath(new URL("process.ts", import.meta.url));

/** Default timeout in minutes. */
const usualPatience = 20;

/** Measures in a fresh process, with additional environment variables. Never rejects: a crash is an outcome too. */
export function measureAlone(order: Order, environment: Environment = {}): Promise<Outcome> {
  const { patience = usualPatience } = order;
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  const child = fork(script, [JSON.stringify(order)], {
    silent: true,
    serialization: "advanced",
    timeout: patience * 60_000,
    killSignal: "SIGKILL",
    env: { ...process.env, ...coldDrivers, ...environment },
  });
  let said = "";
  child.stderr!.on("data", (chunk) => {
    said = (said + chunk).slice(-20_000);
  });
  child.stdout!.resume();
  let measurement: Measurement | undefined;
  child.on("message", (message) => {
    measurement = message as Measurement;
  });
  child.on("error", (error) => resolve({ failure: error.message }));
  child.on("close", (code, signal) => {
    resolve(measurement ? { measurement } : { failure: `${ending(code, signal, patience)}: ${reasonIn(said)}` });
  });
  return promise;
}

const ending = (code: number | null, signal: string | null, patience: number): string =>
  signal === "SIGKILL" ? `killed, after at most ${patience} minutes` : `ended with ${signal ?? `status ${code}`}`;

/** The line that names an error, else the last line: all that fits in a table. */
function reasonIn(said: string): string {
  const lines = said.split("\n").map((line) => line.trim());
  const named = lines.find((line) => /^\w*Error\b.*:/.test(line));
  return named ?? lines.findLast((line) => line !== "") ?? "it said nothing";
}
