/** Installs the libraries that heddle is compared with, below this folder only. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const folder = fileURLToPath(new URL(".", import.meta.url));
const jax = "@jax-js/jax";

const readJson = async <T>(path: string): Promise<T> => JSON.parse(await readFile(path, "utf8")) as T;

/** The version of a package installed in node_modules, or undefined. */
async function installedVersion(at: string, name: string): Promise<string | undefined> {
  const manifest = await readJson<{ version: string }>(join(at, "node_modules", name, "package.json")).catch(
    () => undefined,
  );
  return manifest?.version;
}

/** The installed version of jax-js, or undefined. */
export const installedJax = (): Promise<string | undefined> => installedVersion(folder, jax);

/**
 * Installs a folder's peers, by default those of this one, according to its lock file. Returns why that failed, or
 * undefined on success.
 */
export async function installPeers(note: (text: string) => void, at: string = folder): Promise<string | undefined> {
  const { dependencies } = await readJson<{ dependencies: Record<string, string> }>(join(at, "package.json"));
  const wanted = Object.entries(dependencies);
  const installed = await Promise.all(wanted.map(([name]) => installedVersion(at, name)));
  if (wanted.every(([, version], i) => version === installed[i])) return undefined;
  note(`installing ${wanted.map((one) => one.join(" ")).join(", ")} into ${at} ...`);
  const npm = process.env.npm_execpath;
  const [command, before] = npm ? [process.execPath, [npm]] : ["npm", []];
  try {
    // Their install scripts download what only Node needs.
    const options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
    await promisify(execFile)(command, [...before, ...options], { cwd: at });
    return undefined;
  } catch (cause) {
    const { stderr, message } = cause as { stderr?: string; message: string };
    return `npm ci failed: ${stderr?.split("\n").find((line) => /err/i.test(line)) ?? message}`;
  }
}
