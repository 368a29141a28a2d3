/** Installs the libraries that heddle is measured against, below this folder and nowhere else. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const folder = fileURLToPath(new URL(".", import.meta.url));
const jax = "@jax-js/jax";

const readJson = async <T>(path: string): Promise<T> => JSON.parse(await readFile(join(folder, path), "utf8")) as T;

/** The version of jax-js that lies in node_modules, or undefined. */
export async function installedJax(): Promise<string | undefined> {
  const manifest = await readJson<{ version: string }>(`node_modules/${jax}/package.json`).catch(() => undefined);
  return manifest?.version;
}

/** Makes the installed peers those of the lock file. Returns why that failed, or undefined when all is there. */
export async function installPeers(note: (text: string) => void): Promise<string | undefined> {
  const { dependencies } = await readJson<{ dependencies: Record<string, string> }>("package.json");
  if ((await installedJax()) === dependencies[jax]) return undefined;
  note(`installing ${jax} ${dependencies[jax]} into bench/peers ...`);
  const npm = process.env.npm_execpath;
  const [command, before] = npm ? [process.execPath, [npm]] : ["npm", []];
  try {
    await promisify(execFile)(command, [...before, "ci", "--no-audit", "--no-fund"], { cwd: folder });
    return undefined;
  } catch (cause) {
    const { stderr, message } = cause as { stderr?: string; message: string };
    return `npm ci failed: ${stderr?.split("\n").find((line) => /err/i.test(line)) ?? message}`;
  }
}
