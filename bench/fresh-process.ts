/** Runs measurements in processes of their own, one at a time, so that no contender warms another's caches. */
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { ContenderName } from "./cases.ts";
import type { Measurement } from "./subject.ts";

/** What a process is asked to do. */
export interface Order {
  readonly name: string;
  readonly contender: ContenderName;
  readonly timed: number;
  readonly profile: boolean;
  /** Minutes after which it is given up. */
  readonly patience?: number | undefined;
}

/** A measurement, or why there is none. */
export type Outcome = { readonly measurement: Measurement } | { readonly failure: string };

type Environment = Readonly<Record<string, string>>;

/** No pipeline may come from an earlier process: the caches that drivers keep on disk are off. */
export const coldDrivers: Environment = { MESA_SHADER_CACHE_DISABLE: "true", __GL_SHADER_DISK_CACHE: "0" };

const script = fileURLToPath(new URL("process.ts", import.meta.url));

/** Minutes after which a measurement is given up, unless its order says otherwise. */
const usualPatience = 20;

/** Measures in a fresh process with some variables beside this one's. Never rejects: a crash is an outcome too. */
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

/** The line that names an error, else the last line: a table has room for no more. */
function reasonIn(said: string): string {
  const lines = said.split("\n").map((line) => line.trim());
  const named = lines.find((line) => /^\w*Error\b.*:/.test(line));
  return named ?? lines.findLast((line) => line !== "") ?? "it said nothing";
}
