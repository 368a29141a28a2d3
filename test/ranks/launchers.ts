/** The launchers of MPI that a machine has. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { userInfo } from "node:os";

export interface Launcher {
  readonly name: "Open MPI" | "MPICH";
  readonly command: string;
  readonly options: readonly string[];
}

const versionOf = (command: string): string => String(spawnSync(command, ["--version"]).stdout ?? "");

/** Open MPI starts nothing as root, nor more ranks than cores, unless it is told to. */
const openMpiOptions = ["--oversubscribe", ...(userInfo().uid === 0 ? ["--allow-run-as-root"] : [])];

function found(name: Launcher["name"], commands: readonly string[], sign: RegExp): Launcher | undefined {
  const command = commands.find((c) => sign.test(versionOf(c)));
  return command === undefined ? undefined : { name, command, options: name === "MPICH" ? [] : openMpiOptions };
}

export const launchers: Readonly<Record<Launcher["name"], Launcher | undefined>> = {
  "Open MPI": found("Open MPI", ["mpirun.openmpi", "mpirun"], /Open MPI|OpenRTE/),
  MPICH: found("MPICH", ["mpirun.mpich", "mpiexec.hydra", "mpirun"], /HYDRA|MPICH/),
};

export const installHint = "MPI is not installed (Debian: openmpi-bin and libopenmpi-dev, or mpich)";

export interface Launched {
  readonly child: ChildProcess;
  readonly ended: Promise<{ readonly status: number | null; readonly out: string; readonly err: string }>;
}

/** Starts ranks of a Node program, with further environment variables. */
export function launch(
  { command, options }: Launcher,
  ranks: number,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Launched {
  const child = spawn(command, [...options, "-n", String(ranks), process.execPath, ...args], {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const said = { out: "", err: "" };
  child.stdout.on("data", (text) => {
    said.out += String(text);
  });
  child.stderr.on("data", (text) => {
    said.err += String(text);
  });
  const ended = new Promise<{ status: number | null; out: string; err: string }>((resolve) => {
    child.on("close", (status) => resolve({ status, ...said }));
  });
  return { child, ended };
}
